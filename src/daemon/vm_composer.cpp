#include "daemon/vm_composer.h"

#include "daemon/parallel.h"
#include "image/assembler.h"
#include "image/component_tag.h"
#include "os/clock.h"

namespace forerun::daemon {
namespace {

constexpr std::string_view kKernelFunction = "kernel";
constexpr std::string_view kTagFolder = "component-tags", kTagEnd = ".json";

std::string image_name_of(const std::string& vm_name) { return "vm." + vm_name; }

// What stands at the name's tag; nothing if none does, as for a component known by digest alone.
std::string function_of(const std::string& wish, repository::Source& source) {
  const auto tag = image::fetch_component_tag(source, wish.substr(0, wish.find('@')));
  return tag ? tag->function : "";
}

}  // namespace

Result<std::string> VmComposer::find_kernel() {
  std::vector<std::string> found;
  FR_CHECK(
      store_.list(std::string(kTagFolder), [&](const repository::ObjectInfo& object) -> Status {
        std::string_view name = object.path;
        name.remove_prefix(std::min(name.rfind('/') + 1, name.size()));
        if (!name.ends_with(kTagEnd)) return {};
        name.remove_suffix(kTagEnd.size());
        if (function_of(std::string(name), store_) == kKernelFunction) found.emplace_back(name);
        return {};
      }));
  // A far repository lists nothing by itself: there, the component has to have the name.
  const std::string usual(kKernelFunction);
  if (found.empty() && function_of(usual, store_) == kKernelFunction) found.push_back(usual);
  std::sort(found.begin(), found.end());
  if (found.size() == 1) return found.front();
  if (found.empty())
    return fail(ErrorCode::kNotFound,
                "no kernel to boot with: build one with `forerun component build --kernel kernel`, "
                "or give --kernel");
  return fail(ErrorCode::kInvalid, fmt::format("there are several kernels, {}: name one of them "
                                               "with --with",
                                               fmt::join(found, ", ")));
}

Result<image::Manifest> VmComposer::manifest_of(const api::RunRequest& request) {
  if (!request.manifest.empty()) return image::parse_manifest(request.manifest, "manifest");
  std::vector<std::string> wanted = request.with;
  bool has_kernel = function_of(request.base, store_) == kKernelFunction;
  for (const std::string& wish : wanted)
    has_kernel = has_kernel || function_of(wish, store_) == kKernelFunction;
  if (!has_kernel && request.kernel.empty() && !request.disk_only) {
    FR_TRY(std::string kernel, find_kernel());
    wanted.insert(wanted.begin(), std::move(kernel));
  }
  // The names hold nothing that TOML would take for its own: the API checks them.
  std::string text = fmt::format("version = 1\nbase = \"{}\"\n", request.base);
  if (!wanted.empty()) text += fmt::format("components = [\"{}\"]\n", fmt::join(wanted, "\", \""));
  if (!request.hostname.empty()) text += fmt::format("hostname = \"{}\"\n", request.hostname);
  if (request.disk_bytes > 0) text += "grow = true\n";
  text += "[network]\n";  // DHCP, as QEMU's user network and most others have it
  return image::parse_manifest(text, "--base");
}

Result<std::string> VmComposer::compose(const api::RunRequest& request,
                                        const std::string& existing_digest) {
  FR_TRY(const image::Manifest manifest, manifest_of(request));
  image::AssembleOptions options;
  options.image_name = image_name_of(request.name);
  options.created = os::utc_now();
  options.parallel_for = on_all_processors;
  options.parallel_fetch = while_waiting;
  options.foresees = image::AssembleOptions::Foresees::kLater;
  if (!existing_digest.empty()) options.image_name += ".next";
  if (!is_valid_name(options.image_name))
    return fail(ErrorCode::kInvalid, fmt::format("the VM's name {} is too long to name an image "
                                                 "after it",
                                                 request.name));
  FR_TRY(auto image, image::assemble(manifest, store_, options));
  if (image.first_boot) first_boots_.add(std::move(image.first_boot));
  if (existing_digest.empty()) return options.image_name;
  FR_CHECK(forget(request.name + ".next"));
  if (image.tag.index.hex() != existing_digest)
    return fail(ErrorCode::kExists,
                fmt::format("VM {} exists, and its disk was composed of something else; remove it "
                            "first, or start it without naming components",
                            request.name));
  return image_name_of(request.name);
}

Status VmComposer::forget(const std::string& vm_name) {
  const std::string path = repository::image_path(image_name_of(vm_name));
  FR_TRY(const auto now, store_.now());
  const auto removed = store_.remove(path, now);
  return removed || removed.error().code == ErrorCode::kNotFound ? Status()
                                                                 : std::unexpected(removed.error());
}

}  // namespace forerun::daemon
