// forerun repository export|tags|sign|key
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <set>

#include "cli/commands.h"
#include "cli/fields.h"
#include "cli/operation.h"
#include "cli/text.h"
#include "os/file.h"
#include "os/private_file.h"
#include "repository/key_text.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

constexpr std::string_view kPath = "/api/v1/repository";
constexpr size_t kKeyFileBytesMax = 4096;

struct ExportArguments {
  std::string folder, car;
  std::vector<std::string> names;
  bool no_wait = false;
};

Result<int> export_repository(const Context& context, const ExportArguments& arguments) {
  std::vector<std::string> names = arguments.names;
  std::string target = arguments.car;
  if (target.empty()) {
    if (names.empty()) return fail(ErrorCode::kInvalid, "say where to: a folder, or --car FILE");
    target = names.front();
    names.erase(names.begin());
  }
  json::array list;
  for (const std::string& name : names) {
    FR_CHECK(Context::check_name(name));
    list.emplace_back(name);
  }
  FR_TRY(const std::string path, absolute_path(target));
  const std::string request = json::serialize(json::object{
      {arguments.car.empty() ? "folder" : "car_file", path}, {"names", std::move(list)}});
  return run_operation(context, fmt::format("{}/export", kPath), request, arguments.no_wait,
                       {"repository", "export to " + target});
}

Result<int> list_tags(const Context& context) {
  FR_TRY(const std::string body, context.get(fmt::format("{}/tags", kPath)));
  if (context.output != Output::kTable) {
    print_json(context, body);
    return kExitOk;
  }
  FR_TRY(const json::object answer, parse_answer(body));
  Table table({{"TAG"}, {"DIGEST"}, {"CREATED"}, {"SIGNED BY"}, {"TRUST"}});
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const json::object& tag = item.as_object();
    const std::string key = text_of(tag, "key");
    const std::string refused = text_of(tag, "refused");
    table.add({text_of(tag, "path"), text_of(tag, "digest").substr(0, 12), text_of(tag, "created"),
               key.empty() ? "nobody" : key.substr(0, 12), refused.empty() ? "yes" : refused});
  }
  print(table.text());
  return kExitOk;
}

struct SignArguments {
  std::vector<std::string> names;
  std::string key;
  bool all = false;
};

// Signs here: the key stays with who has it.
Status sign(const Context& context, const json::object& tag, const repository::PrivateKey& key) {
  const std::string path = text_of(tag, "path");
  FR_TRY(const Digest digest, parse_digest(text_of(tag, "digest")));
  const std::string statement = repository::tag_statement(path, digest, text_of(tag, "created"));
  FR_TRY(const auto signature, repository::sign(key, as_bytes(statement)));
  const json::object request{{"path", path},
                             {"digest", digest.hex()},
                             {"key", signature.key.hex()},
                             {"value", signature.value_hex()}};
  FR_TRY(const std::string body,
         context.post(fmt::format("{}/signatures", kPath), json::serialize(request)));
  FR_TRY(const json::object answer, parse_answer(body));
  if (context.output != Output::kTable) {
    print(body + "\n");
    return {};
  }
  const std::string refused = text_of(answer, "refused");
  print(fmt::format("{}: signed{}\n", path,
                    refused.empty() ? "" : "; this daemon does not trust it: " + refused));
  return {};
}

Result<int> sign_tags(const Context& context, const SignArguments& arguments) {
  if (arguments.all == !arguments.names.empty())
    return fail(ErrorCode::kInvalid, "say which names to sign, or --all");
  for (const std::string& name : arguments.names) FR_CHECK(Context::check_name(name));
  FR_TRY(const Buffer text, os::read_file(arguments.key, kKeyFileBytesMax));
  const std::string_view line = as_text(text).substr(0, as_text(text).find('\n'));
  auto key = repository::parse_private_key_text(line);
  if (!key) return std::unexpected(std::move(key.error()).within(arguments.key));
  FR_TRY(const std::string body, context.get(fmt::format("{}/tags", kPath)));
  FR_TRY(const json::object answer, parse_answer(body));
  std::set<std::string> wanted, found;
  for (const std::string& name : arguments.names) wanted.insert(name + ".json");
  for (const json::value& item : list_of(answer, "items")) {
    if (!item.is_object()) continue;
    const json::object& tag = item.as_object();
    const std::string path = text_of(tag, "path");
    const std::string leaf = path.substr(path.rfind('/') + 1);
    if (!arguments.all && !wanted.contains(leaf)) continue;
    if (text_of(tag, "digest").empty())
      return fail(ErrorCode::kCorrupt,
                  fmt::format("cannot sign {}: {}", path, text_of(tag, "refused")));
    FR_CHECK(sign(context, tag, *key));
    found.insert(leaf);
  }
  for (const std::string& name : arguments.names)
    if (!found.contains(name + ".json"))
      return fail(ErrorCode::kNotFound, fmt::format("there is no image or component {}", name));
  return kExitOk;
}

// Writes FILE, which only its owner reads, and FILE.pub.
Result<int> generate_key(const std::string& file) {
  FR_TRY(const auto key, repository::generate_private_key());
  FR_TRY(const auto public_key, repository::public_key_of(key));
  FR_CHECK(os::write_new_private_file(file, as_bytes(repository::key_text(key) + "\n")));
  FR_CHECK(os::write_file_atomic(file + ".pub", as_bytes(repository::key_text(public_key) + "\n")));
  print(repository::key_text(public_key) + "\n");
  return kExitOk;
}

}  // namespace

void add_tag_commands(CLI::App& repository, const Context& context, Command& chosen) {
  auto exporting = std::make_shared<ExportArguments>();
  CLI::App* export_command = repository.add_subcommand(
      "export", "Copy names and what they lead to, for a web server or an IPFS node to serve");
  export_command->add_option("names", exporting->names,
                             "a folder, unless --car; then images and components, none: all");
  export_command->add_option("--car", exporting->car, "into one archive (CARv1)")
      ->type_name("FILE");
  export_command->add_flag("--no-wait", exporting->no_wait,
                           "print the operation's id and return at once");
  export_command->callback([&, exporting] {
    chosen = [&context, exporting] { return export_repository(context, *exporting); };
  });

  repository.add_subcommand("tags", "List what names mean, and who signed them")->callback([&] {
    chosen = [&context] { return list_tags(context); };
  });

  auto signing = std::make_shared<SignArguments>();
  CLI::App* sign_command = repository.add_subcommand("sign", "Sign what names mean now");
  sign_command->add_option("names", signing->names, "images and components");
  sign_command->add_flag("--all", signing->all, "all of them");
  sign_command->add_option("--key", signing->key, "the private key's file")->required();
  sign_command->callback(
      [&, signing] { chosen = [&context, signing] { return sign_tags(context, *signing); }; });

  auto file = std::make_shared<std::string>();
  CLI::App* key = repository.add_subcommand("key", "Keys to sign with");
  key->require_subcommand(1);
  CLI::App* generate =
      key->add_subcommand("generate", "Make a key: FILE, and FILE.pub to give away");
  generate->add_option("file", *file)->required()->type_name("FILE");
  generate->callback([&chosen, file] { chosen = [file] { return generate_key(*file); }; });
}

}  // namespace forerun::cli
