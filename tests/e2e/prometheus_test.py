"""History from a real Prometheus. Needs Debian's package prometheus (96 MB installed), which no other test does: it is not
in packaging/packages.txt, and without it this is skipped. Run: ctest -L prometheus."""
import os
import shutil
import socket
import subprocess
import sys
import time
import unittest
import urllib.request

import lab

HOURS = 5


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PrometheusTest(unittest.TestCase):
    def setUp(self):
        self.daemon = lab.Daemon()
        self.daemon.start()
        self.addCleanup(self.daemon.close)
        self.folder = os.path.join(self.daemon.folder, "prometheus")
        os.makedirs(self.folder)
        self.end = int(time.time()) // 60 * 60
        self.begin = self.end - HOURS * 3600

    def serve(self, text):
        """Starts a Prometheus that has what an OpenMetrics text says."""
        metrics = os.path.join(self.folder, "in.txt")
        with open(metrics, "w", encoding="utf-8") as out:
            out.write(text + "# EOF\n")
        data = os.path.join(self.folder, "data")
        lab.run("promtool", "tsdb", "create-blocks-from", "openmetrics", metrics, data)
        config = os.path.join(self.folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as out:
            out.write("global: {}\n")
        url = f"http://127.0.0.1:{free_port()}"
        with open(os.path.join(self.folder, "log"), "wb") as log:
            process = subprocess.Popen(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}",
                                        f"--web.listen-address={url[7:]}"], stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(url + "/-/ready", timeout=5):
                    return url
            except OSError:
                self.assertLess(time.monotonic(), deadline, "Prometheus is not ready")
                time.sleep(0.2)

    def test_what_exporters_told_becomes_our_history(self):
        text = "# TYPE node_cpu_seconds counter\n"
        times = range(self.begin, self.end, 30)
        for host, mode, rate in (("h1:9100", "user", 1.5), ("h1:9100", "idle", 2.5), ("h2:9100", "user", 9)):
            for at in times:
                text += (f'node_cpu_seconds_total{{instance="{host}",cpu="0",mode="{mode}"}} '
                         f"{rate * (at - self.begin)} {at}\n")
        text += "# TYPE libvirt_domain_vcpu_delay_seconds counter\n"
        for vcpu, rate in ((0, 0.1), (1, 0.3)):
            for at in times:
                text += (f'libvirt_domain_vcpu_delay_seconds_total{{instance="h1:9177",domain="web",vcpu="{vcpu}"}} '
                         f"{rate * (at - self.begin)} {at}\n")
        url = self.serve(text)
        done = self.daemon.cli("usage", "import", "--prometheus", url, "--instance", "h1", "--last", f"{HOURS}h")
        self.assertIn("points of", done.stdout)
        for path, value in (("host/cpu_cores", 1.5), ("host/cpu_total_cores", 1), ("vm/web/cpu_wait_cores", 0.4),
                            ("vm/web/vcpu_wait_ratio", 0.2)):
            points = self.daemon.get(f"/api/v1/usage/{path}?resolution=5m&last_seconds={HOURS * 3600}")["points"]
            past = [mean for at, mean, _ in points if self.begin + 600 <= at < self.begin + 4200]
            self.assertEqual(len(past), 12, path)
            for mean in past:
                self.assertAlmostEqual(mean, value, delta=value / 500, msg=path)

    def test_what_it_refuses_is_told(self):
        url = self.serve("# TYPE up gauge\nup 1 %d\n" % self.begin)
        refused = self.daemon.cli("usage", "import", "--prometheus", url + "/elsewhere", "--last", "1h", check=False)
        self.assertIn("/elsewhere/api/v1/read: the server answers 404", refused.stderr)
        empty = self.daemon.cli("usage", "import", "--prometheus", url, "--last", "1h")
        self.assertIn("0 points of 0 series", empty.stdout)


if __name__ == "__main__":
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        print("skipped: needs prometheus and promtool (Debian's package prometheus)", file=sys.stderr)
        sys.exit(77)
    unittest.main()
