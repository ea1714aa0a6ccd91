#include "daemon/repositories.h"

#include <cstdlib>
#include <map>

#include "image/trusted_store.h"
#include "net/directory_store.h"
#include "net/http_source.h"
#include "net/s3_credentials.h"
#include "net/s3_store.h"
#include "os/clock.h"

namespace forerun::daemon {
namespace {

constexpr const char* kKeyVariables[] = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
                                         "AWS_SESSION_TOKEN"};

Result<std::unique_ptr<repository::Source>> open_http(const RepositoryConfig& repository) {
  net::HttpOptions options;
  options.base_url = repository.url;
  options.ca_file = repository.ca_file;
  options.client_certificate_file = repository.certificate_file;
  options.client_key_file = repository.key_file;
  return net::HttpSource::create(std::move(options));
}

Result<std::unique_ptr<net::S3Store>> open_bucket(const RepositoryConfig& repository) {
  FR_TRY(const net::S3Location location, net::parse_s3_url(repository.s3));
  net::S3Options options;
  options.bucket = location.bucket;
  options.prefix = location.prefix;
  options.endpoint = repository.endpoint;
  if (!repository.region.empty()) options.region = repository.region;
  options.is_path_style = repository.is_path_style;
  options.ca_file = repository.ca_file;
  options.unix_seconds = os::unix_seconds;
  if (const std::string& file = repository.access_key_file; !file.empty()) {
    FR_TRY(options.credentials, net::read_s3_credentials(file));
    options.reload_credentials = [file] { return net::read_s3_credentials(file); };
  } else {
    std::map<std::string, std::string> environment;
    for (const char* name : kKeyVariables) {
      if (const char* value = std::getenv(name)) environment[name] = value;
    }
    FR_TRY(options.credentials, net::s3_credentials_of(environment));
  }
  return net::S3Store::create(std::move(options));
}

// Adds `opened` as one that may be written to.
void add_store(Repositories& repositories, std::unique_ptr<repository::Store> opened,
               const RepositoryConfig& repository, const Trust& trust) {
  const repository::TrustPolicy policy = trust.policy_of(repository);
  auto trusted = std::make_unique<image::TrustedStore>(*opened, policy, trust.signing_key);
  if (repositories.store == nullptr) {
    repositories.store = trusted.get();
    if (!repository.path.empty()) repositories.local = trusted.get();
    repositories.plain_store = opened.get();
    repositories.store_trust = policy;
  }
  repositories.trusted.push_back(std::move(trusted));
  repositories.owned.push_back(std::move(opened));
}

Status add(Repositories& repositories, const RepositoryConfig& repository, const Trust& trust) {
  if (!repository.path.empty()) {
    FR_TRY(auto store,
           net::DirectoryStore::open(repository.path, net::DirectoryStore::Mode::kReadWrite));
    add_store(repositories, std::move(store), repository, trust);
    return {};
  }
  if (!repository.s3.empty()) {
    auto store = open_bucket(repository);
    if (!store) return std::unexpected(std::move(store.error()).within(repository.s3));
    add_store(repositories, std::move(*store), repository, trust);
    return {};
  }
  FR_TRY(auto source, open_http(repository));
  repositories.trusted.push_back(
      std::make_unique<image::TrustedSource>(*source, trust.policy_of(repository)));
  repositories.owned.push_back(std::move(source));
  return {};
}

}  // namespace

Result<Repositories> open_repositories(const Config& config, const Trust& trust) {
  Repositories repositories;
  std::vector<RepositoryConfig> wanted = config.repositories;
  // A host whose repositories are all far and for reading imports and composes, too.
  if (std::ranges::all_of(wanted, [](const auto& one) { return !one.url.empty(); }))
    wanted.insert(wanted.begin(), {.path = config.state_dir + "/repository"});
  for (const RepositoryConfig& repository : wanted) FR_CHECK(add(repositories, repository, trust));
  for (const auto& repository : repositories.trusted)
    repositories.sources.push_back(repository.get());
  for (const char* name : kKeyVariables) ::unsetenv(name);
  return repositories;
}

}  // namespace forerun::daemon
