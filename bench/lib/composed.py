"""bench/boot --with A,B,C: one image composed of these components, booted with what others taught about its parts."""

import os

from . import boots, comparison, components, workloads
from .comparison import ROOT, Plan

# Who teaches base and kernel to forerun_new_service, unless told otherwise: the first two that the image is not.
_TEACHERS = ("nginx", "redis", "memcached", "python-flask", "postgresql")

DEFINITIONS = {
    "service_s": "from the request to run the VM until every service of the image has answered its probe",
    "stall_s": "until then: time during which at least one guest read waited for the link",
    "fetched_bytes": "until then: payload bytes that crossed the link towards the host, indexes and HTTP headers "
                     "included",
    "wasted_ratio": "of the bytes fetched ahead, those that the guest had not used once it had read nothing for 2 s "
                    "after its services answered; hit, late and wasted as in the single guest's benchmark, in chunks",
    "modes": {
        "on_demand": "forerund, nothing fetched ahead",
        "image_trace": "forerund, a trace of two boots of this very image read ahead, 8 deep, without priorities",
        "forerun_static": "forerund, no boot of anything known: the boot prior, made when the image was composed",
        "forerun_new_service": "forerund, base and kernel known from images without any service of this one",
        "forerun_unseen": "forerund, this image never booted; known are the images of trained_on",
        "forerun_learned": "forerund after two boots of this very image",
        "local": "the whole image on this host's disk",
        "copy_first": "the whole image copied over the link from the same compressed repository, then booted",
    },
}


def add_options(options):
    options.add_argument("--with", dest="services", metavar="A,B,C",
                         help="boot an image composed of these, in this order: of " + ", ".join(workloads.CATALOGUE) +
                              ", or any Debian package")
    options.add_argument("--trained-on", metavar="X,Y+Z", help="the images forerun_unseen has learned from, of one "
                         "component (X) or several (Y+Z); default: each of --with alone")
    options.add_argument("--base-from", metavar="X,Y", help="the images forerun_new_service has learned base and "
                         "kernel from; default: two that --with does not name")
    options.add_argument("--boots", type=int, default=2, help="boots of each image to learn from (default 2)")
    options.add_argument("--components", default=os.path.join(ROOT, "build/components"),
                         help="the repository of components, built there if missing (as root)")


def compare(options, chosen):
    """Compares the modes on the image of chosen.services. Returns what was written."""
    comparison.check(options, chosen, list(DEFINITIONS["modes"]) if chosen.modes else boots.COMPOSED_MODES)
    if chosen.boots < 1:
        options.error("--boots must be at least 1")
    tested = tuple(workloads.workload(name).name for name in chosen.services.split(",") if name)
    if not tested or len(set(tested)) < len(tested):
        options.error("--with needs names, each once")
    parts = workloads.parse_sets(chosen.trained_on) if chosen.trained_on else [(name,) for name in tested]
    base = workloads.parse_sets(chosen.base_from) if chosen.base_from else [
        (name,) for name in _TEACHERS if name not in tested][:2]
    if tested in parts and chosen.trained_on:
        options.error("--trained-on names the image of --with itself: that is forerun_learned")
    if tested in parts:  # of one component: it was booted in company
        parts = [tested + names for names in base]
    needed = {boots.OWN: [tested], boots.PARTS: parts, boots.BASE: base}

    def prepare(work):
        kinds = dict.fromkeys(filter(None, map(boots.learned_from, chosen.modes)))
        sets = [tested] + [names for kind in kinds for names in needed[kind]]
        library = components.Library(chosen.bin, chosen.components, comparison.say)
        guest = library.build(sets)
        raw = os.path.join(work, "disk.raw") if "local" in chosen.modes else None
        if raw:
            library.copy_disk(tested, raw)
        made = {names: _workload(guest, names, raw if names == tested else None) for names in sets}
        boots_of = {boots.OWN: 2, boots.PARTS: chosen.boots, boots.BASE: chosen.boots}
        taught = {kind: [made[names] for _ in range(boots_of[kind]) for names in needed[kind]] for kind in kinds}
        known = {name for names in parts for name in names}
        facts = {"with": tested, "trained_on": parts, "base_from": base, "boots": chosen.boots,
                 "unknown_to_unseen": [name for name in tested if name not in known], "guest": guest.facts,
                 "image": library.images[tested]}
        return Plan(library.repository, made[tested], taught, facts)

    return comparison.run(chosen, "boot", DEFINITIONS, prepare)


def add_to(single, composed):
    """Adds a composed image's result to the single guest's: all of it under "composed", and the medians of the modes
    that only it has beside the single guest's; what they are to be compared with is called composed_…"""
    single["composed"] = {key: composed[key] for key in (
        "with", "trained_on", "base_from", "boots", "guest", "image", "definitions", "training", "runs", "medians",
        "spread")}
    for table in ("medians", "spread"):
        for link, modes in composed[table].items():
            known = single[table].setdefault(link, {})
            known.update({f"composed_{mode}" if mode in known else mode: fields for mode, fields in modes.items()})


def _workload(guest, names, disk):
    probes = [probe for name in names for probe in workloads.workload(name).probes]
    # One question to the console is enough: its script looks at all packages.
    return boots.VmWorkload(guest, components.image_name(names), list(dict.fromkeys(probes)), disk,
                            512 + 256 * max(0, len(names) - 2))
