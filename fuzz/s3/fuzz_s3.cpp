// Fuzzes what an S3 service answers: listings, errors, times; and files of keys. Mostly builds a
// listing that is almost right, as random bytes rarely are XML.
#include <fmt/format.h>
#include <fuzzer/FuzzedDataProvider.h>

#include "net/s3_credentials.h"
#include "net/s3_reply.h"

using namespace forerun;
using net::S3ListPage;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

std::string percent_encoded(std::string_view text) {
  std::string encoded;
  for (const unsigned char c : text) encoded += fmt::format("%{:02X}", c);
  return encoded;
}

struct Built {
  S3ListPage page;
  std::string xml;
};

Built build_listing(FuzzedDataProvider& input) {
  Built built;
  std::string& xml = built.xml;
  xml =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\"s3\">"
      "<EncodingType>url</EncodingType>";
  const size_t count = input.ConsumeIntegralInRange<size_t>(0, 4);
  for (size_t i = 0; i < count; ++i) {
    const std::string key = "k" + input.ConsumeRandomLengthString(20);
    const auto size = input.ConsumeIntegral<uint64_t>();
    const int second = input.ConsumeIntegralInRange<int>(0, 59);
    xml += fmt::format(
        "<Contents><Key>{}</Key><Size>{}</Size><LastModified>1970-01-01T00:00:{:02}.250Z"
        "</LastModified><Owner><ID>x</ID></Owner></Contents>",
        percent_encoded(key), size, second);
    built.page.objects.push_back({key, size, std::chrono::seconds(second) + 250ms});
  }
  const bool goes_on = count > 0 && input.ConsumeBool();
  if (goes_on) {
    built.page.next = "next";
    xml += "<NextContinuationToken>next</NextContinuationToken>";
  }
  xml += fmt::format("<IsTruncated>{}</IsTruncated></ListBucketResult>", goes_on);
  return built;
}

// Overwrites a little, repeats a part, or puts something in.
void spoil(std::string& xml, FuzzedDataProvider& input) {
  for (int i = input.ConsumeIntegralInRange<int>(1, 4); i > 0 && !xml.empty(); --i) {
    const size_t at = input.ConsumeIntegralInRange<size_t>(0, xml.size() - 1);
    switch (input.ConsumeIntegralInRange<int>(0, 3)) {
      case 0:
        xml[at] = input.ConsumeIntegral<char>();
        break;
      case 1:
        xml.erase(at, input.ConsumeIntegralInRange<size_t>(1, 40));
        break;
      case 2:
        xml.insert(at, xml.substr(at, input.ConsumeIntegralInRange<size_t>(1, 400)));
        break;
      default:
        xml.insert(at, input.PickValueInArray<const char*>(
                           {"<a>", "</a>", "<!DOCTYPE a [<!ENTITY b \"c\">]>", "&b;", "&#0;", "%",
                            "<![CDATA[", "<!--", "99999999999999999999", "\xff"}));
    }
  }
}

void check_page(std::string_view xml) {
  const auto page = net::parse_s3_list_page(xml);
  if (!page) {
    require(page.error().code == ErrorCode::kCorrupt);
    return;
  }
  require(page->objects.size() <= net::kS3ListPageObjectsMax);
  require(page->next.empty() || !page->objects.empty());
  for (const auto& object : page->objects) {
    require(!object.key.empty() && object.key.size() <= 4096);
    require(object.modified >= Nanos(0));
  }
}

void check_error(std::string_view xml) {
  const std::string code = net::s3_error_code(xml);
  require(code.size() <= 64);
  for (const unsigned char c : code) require(std::isalnum(c) != 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  switch (input.ConsumeIntegralInRange<int>(0, 3)) {
    case 0: {
      Built built = build_listing(input);
      const auto page = net::parse_s3_list_page(built.xml);
      require(page && page->objects == built.page.objects && page->next == built.page.next);
      spoil(built.xml, input);
      check_page(built.xml);
      break;
    }
    case 1: {
      const std::string xml = input.ConsumeRemainingBytesAsString();
      check_page(xml);
      check_error(xml);
      break;
    }
    case 2: {
      std::string xml = "<Error><Code>NoSuchKey</Code><Message>m</Message></Error>";
      spoil(xml, input);
      check_error(xml);
      break;
    }
    default: {
      const std::string text = input.ConsumeRemainingBytesAsString();
      if (const auto time = net::parse_s3_time(text)) require(*time >= Nanos(0));
      if (const auto keys = net::parse_s3_credentials(text))
        require(!keys->access_key_id.empty() && !keys->secret_access_key.empty());
    }
  }
  return 0;
}
