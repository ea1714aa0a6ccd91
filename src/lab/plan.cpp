#include "lab/plan.h"

#include <charconv>

#include "core/id.h"

namespace forerun::lab {
namespace {

std::unexpected<Error> wrong_subnet(std::string_view text) {
  return fail(
      ErrorCode::kInvalid,
      fmt::format("subnet '{}' is not an IPv4 network such as 10.77.0.0/24, /8 to /27", text));
}

struct Subnet {
  uint32_t base = 0;
  unsigned bits = 0;
};

// Returns the number that stands at the front of `text`, and takes it and `end` off.
bool take_number(std::string_view& text, char end, unsigned max, unsigned& value) {
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value > max) return false;
  text.remove_prefix(static_cast<size_t>(rest - text.data()));
  if (end == '\0') return text.empty();
  if (!text.starts_with(end)) return false;
  text.remove_prefix(1);
  return true;
}

Result<Subnet> parse_subnet(std::string_view text) {
  Subnet subnet;
  std::string_view rest = text;
  for (const char end : {'.', '.', '.', '/'}) {
    unsigned byte = 0;
    if (!take_number(rest, end, 255, byte)) return wrong_subnet(text);
    subnet.base = subnet.base << 8 | byte;
  }
  if (!take_number(rest, '\0', 27, subnet.bits) || subnet.bits < 8) return wrong_subnet(text);
  if ((subnet.base & (0xFFFFFFFFu >> subnet.bits)) != 0) return wrong_subnet(text);
  return subnet;
}

std::string address_text(uint32_t address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255,
                     address & 255);
}

}  // namespace

Result<Plan> plan_lab(const PlanOptions& options) {
  if (options.hosts < kHostsMin || options.hosts > kHostsMax)
    return fail(ErrorCode::kInvalid, fmt::format("a lab has {} to {} hosts, not {}", kHostsMin,
                                                 kHostsMax, options.hosts));
  if (!options.folder.starts_with('/') || options.folder.size() > kFolderBytesMax)
    return fail(ErrorCode::kInvalid,
                fmt::format("the lab's folder must be an absolute path of at most {} bytes, for "
                            "the sockets in it: '{}'",
                            kFolderBytesMax, options.folder));
  for (const char c : options.folder)
    if (c < ' ' || c == '"' || c == '\\' || c == '\x7f')
      return fail(ErrorCode::kInvalid, "the lab's folder has a character that is not allowed");
  if (!is_valid_name(options.prefix) || options.prefix.size() > kNamespacePrefixBytesMax)
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' is no prefix for the names of namespaces", options.prefix));
  FR_TRY(const Subnet subnet, parse_subnet(options.subnet));
  Plan plan{options.folder, subnet.bits, {}};
  for (size_t i = 0; i < options.hosts; ++i) {
    const auto number = static_cast<uint32_t>(i + 1);
    const std::string name(1, static_cast<char>('a' + i));
    plan.hosts.push_back({name, address_text(subnet.base + number),
                          fmt::format("02:46:52:00:00:{:02x}", number), options.prefix + "-" + name,
                          options.folder + "/" + name});
  }
  return plan;
}

std::string network_commands(const Plan& plan, const Host& host) {
  return fmt::format(
      "link set lo up\n"
      "link add br0 address {} type bridge\n"
      "link set br0 addrgenmode none\n"
      "link set eth0 addrgenmode none\n"
      "link set eth0 master br0\n"
      "link set eth0 up\n"
      "addr add {}/{} dev br0\n"
      "link set br0 up\n",
      host.network_device, host.address, plan.prefix_bits);
}

std::string daemon_config(const Plan& plan, const Host& host) {
  std::string text = fmt::format(
      "# Host {} of the lab in {}, written by `forerun lab up`.\n"
      "[daemon]\n"
      "state_dir = \"{}/state\"\n"
      "run_dir = \"{}/run\"\n"
      "\n"
      "[[repository]]\n"
      "path = \"{}/repository\"\n"
      "\n"
      "[migration]\n"
      "listen = \"{}:{}\"\n"
      "certificate = \"{}\"\n"
      "key = \"{}\"\n"
      "ca = \"{}\"\n",
      host.name, plan.folder, host.folder, host.folder, plan.folder, host.address, kMigrationPort,
      host.certificate_path(), host.key_path(), plan.authority_certificate());
  for (const Host& other : plan.hosts)
    if (other.name != host.name)
      text += fmt::format("\n[hosts.{}]\naddress = \"{}:{}\"\n", other.name, other.address,
                          kMigrationPort);
  return text;
}

std::string authority_request() {
  return "[req]\ndistinguished_name = dn\nprompt = no\nx509_extensions = ext\n"
         "[dn]\nO = Forerun lab\nCN = Forerun lab CA\n"
         "[ext]\nbasicConstraints = critical,CA:TRUE\n"
         "keyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n";
}

std::string certificate_request(const Host& host) {
  return fmt::format(
      "[req]\ndistinguished_name = dn\nprompt = no\nx509_extensions = ext\n"
      "[dn]\nO = Forerun lab\nCN = {0}\n"
      "[ext]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n"
      "extendedKeyUsage = serverAuth,clientAuth\nsubjectAltName = DNS:{0},IP:{1}\n",
      host.name, host.address);
}

}  // namespace forerun::lab
