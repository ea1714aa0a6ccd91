// Fuzzes the reader of Debian packages: builds one of right members, then spoils control fields,
// member headers and bytes.
#include <fuzzer/FuzzedDataProvider.h>

#include "image/ar_builder.h"
#include "image/component_fixture.h"
#include "image/deb_import.h"

using namespace forerun;
using namespace forerun::image;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

std::string build_control(FuzzedDataProvider& input, bool& is_spoilt) {
  constexpr std::string_view kLines[] = {"Depends: a, b (>= 1)",
                                         "Description: x",
                                         " continued",
                                         "Provides: c, d+ (= 1)",
                                         "Multi-Arch: same",
                                         "Status: x",
                                         "package: twice",
                                         "",
                                         "\t.",
                                         "no field",
                                         "X-Y:"};
  std::string control;
  const bool is_odd = input.ConsumeProbability<float>() < 0.3f;
  for (int i = is_odd ? input.ConsumeIntegralInRange<int>(0, 3) : 0; i > 0; --i)
    control += fmt::format("{}\n", input.PickValueInArray(kLines));
  is_spoilt |= is_odd;
  control += "Package: tool\nVersion: 1-2\nArchitecture: amd64\n";
  for (int i = input.ConsumeIntegralInRange<int>(0, 3); i > 0; --i) {
    is_spoilt = true;
    control += input.ConsumeBool() ? fmt::format("{}\n", input.PickValueInArray(kLines))
                                   : input.ConsumeRandomLengthString(16);
  }
  return control;
}

std::string build_control_tar(FuzzedDataProvider& input, bool& is_spoilt) {
  constexpr std::string_view kNames[] = {"md5sums", "postinst", "triggers",
                                         "list",    "control",  "a/b"};
  TarBuilder tar;
  tar.directory("./").file("./control", build_control(input, is_spoilt));
  for (int i = input.ConsumeIntegralInRange<int>(0, 2); i > 0; --i) {
    is_spoilt = true;
    tar.file(std::string(input.PickValueInArray(kNames)), input.ConsumeRandomLengthString(20));
  }
  if (input.ConsumeBool()) tar.file("conffiles", "/f1\n");
  if (input.ConsumeProbability<float>() < 0.1f) {
    is_spoilt = true;
    tar.file("conffiles", input.ConsumeRandomLengthString(20));
  }
  return tar.end().bytes();
}

std::string build_data_tar(FuzzedDataProvider& input, bool& is_spoilt,
                           std::map<std::string, std::string>& files) {
  TarBuilder tar;
  files["f1"] = input.ConsumeRandomLengthString(300);
  tar.directory("./").file("./f1", files["f1"]);
  for (int i = input.ConsumeIntegralInRange<int>(0, 4); i > 0; --i) {
    std::string name = fmt::format("d/f{}", i + 1);
    if (input.ConsumeProbability<float>() < 0.2f) {
      is_spoilt = true;
      name = input.ConsumeRandomLengthString(20);
    } else {
      files[name] = "x";
    }
    tar.file(std::move(name), "x");
  }
  return tar.end().bytes();
}

void add_member(ArBuilder& deb, std::string_view name, const std::string& content,
                FuzzedDataProvider& input, bool& is_spoilt) {
  constexpr std::string_view kSizes[] = {"-1", "0", "9999999999", "", "7", "0x1", "1 "};
  if (input.ConsumeProbability<float>() < 0.1f) {
    is_spoilt = true;
    deb.header(input.ConsumeBool() ? name : "odd", input.PickValueInArray(kSizes)).raw(content);
    return;
  }
  deb.add(name, content);
}

// Returns whether the package was taken; what it is made of is looked at.
bool import(const std::string& bytes, const std::map<std::string, std::string>* files) {
  repository::MemoryStore store;
  MemoryFile scratch;
  DebLimits limits;
  limits.unpack = {.bytes_free = 64 * kKiB, .ratio_max = 10};
  limits.data.content_bytes_max = 256 * kKiB;
  limits.control_bytes_max = 64 * kKiB;
  const auto import = [&]() -> Result<BuiltComponent> {
    FR_TRY(const auto reader, DebReader::open(stream_of(as_bytes(bytes)), limits));
    BuildOptions options = build_options();
    options.info = describe_deb(reader->control(), "part");
    FR_TRY(const auto builder, ComponentBuilder::create(store, scratch, options));
    FR_CHECK(reader->add_to(*builder));
    return builder->publish();
  };
  const auto built = import();
  if (!built) {
    require(!built.error().message.empty());
    return false;
  }
  const auto status = built->index.tree.find("/var/lib/dpkg/status.d");
  require(status.has_value());
  if (files == nullptr) return true;
  for (const auto& [name, content] : *files)
    require(read_file(store, built->index, "/" + name).value_or("?") == content);
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  if (input.ConsumeIntegralInRange<int>(0, 15) == 0) {
    import(input.ConsumeRemainingBytesAsString(), nullptr);
    return 0;
  }
  bool is_spoilt = false;
  std::map<std::string, std::string> files;
  const std::string control = build_control_tar(input, is_spoilt);
  const std::string content = build_data_tar(input, is_spoilt, files);
  ArBuilder deb;
  add_member(deb, "debian-binary", "2.0\n", input, is_spoilt);
  add_member(deb, "control.tar", control, input, is_spoilt);
  if (input.ConsumeBool()) deb.add("_extra", input.ConsumeRandomLengthString(9));
  add_member(deb, "data.tar", content, input, is_spoilt);
  std::string bytes = deb.bytes();
  for (int i = input.ConsumeIntegralInRange<int>(0, 2); i > 0; --i) {
    is_spoilt = true;
    const size_t at = input.ConsumeIntegralInRange<size_t>(0, bytes.size() - 1);
    bytes[at] = static_cast<char>(input.ConsumeIntegral<uint8_t>());
  }
  const bool accepted = import(bytes, is_spoilt ? nullptr : &files);
  require(accepted || is_spoilt);
  return 0;
}
