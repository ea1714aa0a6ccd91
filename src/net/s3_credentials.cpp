#include "net/s3_credentials.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include "os/file.h"

namespace forerun::net {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// Returns the member that `name` sets, or nullptr.
std::string* member_of(S3Credentials& keys, std::string_view name) {
  if (name == "aws_access_key_id") return &keys.access_key_id;
  if (name == "aws_secret_access_key") return &keys.secret_access_key;
  if (name == "aws_session_token") return &keys.session_token;
  return nullptr;
}

}  // namespace

Result<S3Credentials> parse_s3_credentials(std::string_view text) {
  S3Credentials keys;
  bool is_ours = true;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line[0] == '[') {
      is_ours = line == "[default]";
      continue;
    }
    const size_t equals = line.find('=');
    if (!is_ours || equals == std::string_view::npos) continue;
    if (std::string* member = member_of(keys, trimmed(line.substr(0, equals))))
      *member = trimmed(line.substr(equals + 1));
  }
  for (const std::string_view name : {"aws_access_key_id", "aws_secret_access_key"}) {
    if (member_of(keys, name)->empty())
      return fail(ErrorCode::kInvalid, fmt::format("it has no {} = …", name));
  }
  return keys;
}

Result<S3Credentials> read_s3_credentials(const std::string& path) {
  struct stat status{};
  const std::string attempted = fmt::format("read the keys in {}", path);
  if (::stat(path.c_str(), &status) != 0) return fail_errno(attempted, errno);
  if ((status.st_mode & S_IROTH) != 0)
    return fail(ErrorCode::kDenied,
                fmt::format("cannot {}: everybody can read it; chmod o= {}", attempted, path));
  FR_TRY(const Buffer text, os::read_file(path, kS3CredentialsBytesMax));
  auto keys = parse_s3_credentials(as_text(text));
  if (!keys) return std::unexpected(std::move(keys.error()).within("cannot " + attempted));
  return keys;
}

Result<S3Credentials> s3_credentials_of(const std::map<std::string, std::string>& environment) {
  const auto value_of = [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  S3Credentials keys{value_of("AWS_ACCESS_KEY_ID"), value_of("AWS_SECRET_ACCESS_KEY"),
                     value_of("AWS_SESSION_TOKEN")};
  if (keys.access_key_id.empty() || keys.secret_access_key.empty())
    return fail(ErrorCode::kInvalid,
                "no keys: set repository.access_key_file, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY in the environment");
  return keys;
}

}  // namespace forerun::net
