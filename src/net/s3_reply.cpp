#include "net/s3_reply.h"

#include <expat.h>
#include <fmt/format.h>

#include <charconv>
#include <functional>
#include <memory>
#include <optional>

namespace forerun::net {
namespace {

constexpr size_t kDepthMax = 8;
constexpr size_t kTextMax = 4096;  // S3's keys have at most 1024 bytes, encoded three times that

// Walks a document and tells the text of each element by its path: "ListBucketResult/Contents/Key".
class Walker {
 public:
  // `on_text`: when an element ends, with its own text. Returns what is wrong, or "".
  using OnText = std::function<std::string(std::string_view path, std::string_view text)>;

  explicit Walker(OnText on_text) : on_text_(std::move(on_text)) {}

  Status walk(std::string_view xml) {
    const std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> parser(
        XML_ParserCreate("UTF-8"), &XML_ParserFree);
    if (!parser) return fail(ErrorCode::kInternal, "cannot parse XML: no memory");
    parser_ = parser.get();
    XML_SetUserData(parser_, this);
    XML_SetElementHandler(parser_, &Walker::on_start, &Walker::on_end);
    XML_SetCharacterDataHandler(parser_, &Walker::on_characters);
    XML_SetStartDoctypeDeclHandler(parser_, &Walker::on_doctype);
    const bool is_whole =
        xml.size() <= INT_MAX &&
        XML_Parse(parser_, xml.data(), static_cast<int>(xml.size()), XML_TRUE) == XML_STATUS_OK;
    if (is_whole) return {};
    if (wrong_.empty()) wrong_ = XML_ErrorString(XML_GetErrorCode(parser_));
    return fail(ErrorCode::kCorrupt,
                fmt::format("line {}: {}", XML_GetCurrentLineNumber(parser_), wrong_));
  }

 private:
  static void on_start(void* user, const char* name, const char**) {
    Walker& self = *static_cast<Walker*>(user);
    if (self.starts_.size() >= kDepthMax) return self.stop("elements stand too deep");
    self.starts_.push_back(self.path_.size());
    if (!self.path_.empty()) self.path_ += '/';
    self.path_ += name;
    self.text_.clear();
    if (self.path_.size() > kTextMax) self.stop("names are too long");
  }
  static void on_end(void* user, const char*) {
    Walker& self = *static_cast<Walker*>(user);
    if (!self.wrong_.empty()) return;
    if (std::string wrong = self.on_text_(self.path_, self.text_); !wrong.empty())
      return self.stop(std::move(wrong));
    self.path_.resize(self.starts_.back());
    self.starts_.pop_back();
    self.text_.clear();
  }
  static void on_characters(void* user, const char* text, int size) {
    Walker& self = *static_cast<Walker*>(user);
    if (self.text_.size() + static_cast<size_t>(size) > kTextMax)
      return self.stop("a text is too long");
    self.text_.append(text, static_cast<size_t>(size));
  }
  static void on_doctype(void* user, const char*, const char*, const char*, int) {
    static_cast<Walker*>(user)->stop("it has a document type");
  }
  // expat may still call handlers that it had due.
  void stop(std::string wrong) {
    if (!wrong_.empty()) return;
    wrong_ = std::move(wrong);
    XML_StopParser(parser_, XML_FALSE);
  }

  const OnText on_text_;
  XML_Parser parser_ = nullptr;
  std::string path_;
  std::vector<size_t> starts_;  // where the names on the path start
  std::string text_;            // of the innermost element
  std::string wrong_;
};

std::optional<uint64_t> parse_number(std::string_view digits) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const char* const end = text.data() + i + 3;
    if (std::from_chars(text.data() + i + 1, end, value, 16).ptr != end) return std::nullopt;
    decoded += static_cast<char>(value);
    i += 2;
  }
  return decoded;
}

// Collects a page from its elements.
class PageBuilder {
 public:
  std::string add(std::string_view path, std::string_view text) {
    constexpr std::string_view kRoot = "ListBucketResult";
    if (!path.starts_with(kRoot)) return "it is no list of a bucket";
    path.remove_prefix(kRoot.size());
    if (path == "/Contents/Key") return (key_ = text, "");
    if (path == "/Contents/Size") return add_size(text);
    if (path == "/Contents/LastModified") return add_time(text);
    if (path == "/Contents") return end_object();
    if (path == "/EncodingType") return (is_encoded_ = text == "url", "");
    if (path == "/IsTruncated") return (is_truncated_ = text, "");
    if (path == "/NextContinuationToken") return (page_.next = text, "");
    return {};
  }

  Result<S3ListPage> build() {
    if (is_truncated_ != "true" && is_truncated_ != "false")
      return fail(ErrorCode::kCorrupt, "it does not say whether it goes on");
    const bool goes_on = is_truncated_ == "true";
    if (!goes_on) page_.next.clear();
    if (goes_on && (page_.next.empty() || page_.objects.empty()))
      return fail(ErrorCode::kCorrupt, "it goes on, but not where");
    if (!is_encoded_) return std::move(page_);
    for (S3ListedObject& object : page_.objects) {
      auto key = percent_decoded(object.key);
      if (!key) return fail(ErrorCode::kCorrupt, "a key is not encoded as it says");
      object.key = std::move(*key);
    }
    return std::move(page_);
  }

 private:
  std::string add_size(std::string_view text) {
    size_ = parse_number(text);
    return size_ ? "" : "a size is no number";
  }
  std::string add_time(std::string_view text) {
    const auto time = parse_s3_time(text);
    if (!time) return "a time is malformed";
    modified_ = *time;
    return {};
  }
  std::string end_object() {
    if (!key_ || key_->empty() || !size_ || !modified_) return "an object lacks key, size or time";
    if (page_.objects.size() == kS3ListPageObjectsMax) return "it has more objects than asked for";
    page_.objects.push_back({std::move(*key_), *size_, *modified_});
    key_.reset();
    size_.reset();
    modified_.reset();
    return {};
  }

  S3ListPage page_;
  std::optional<std::string> key_;
  std::optional<uint64_t> size_;
  std::optional<Nanos> modified_;
  bool is_encoded_ = false;
  std::string is_truncated_;
};

}  // namespace

Result<S3ListPage> parse_s3_list_page(std::string_view xml) {
  PageBuilder page;
  Status walked;
  if (xml.size() > kS3ListPageBytesMax) {
    walked = fail(ErrorCode::kCorrupt, fmt::format("it has {} bytes", xml.size()));
  } else {
    walked = Walker([&](auto path, auto text) { return page.add(path, text); }).walk(xml);
  }
  if (!walked) return std::unexpected(std::move(walked.error()).within("the listing is unusable"));
  auto built = page.build();
  if (!built) return std::unexpected(std::move(built.error()).within("the listing is unusable"));
  return built;
}

std::string s3_error_code(std::string_view xml) {
  std::string code;
  const Status walked = Walker([&](std::string_view path, std::string_view text) {
                          if (path == "Error/Code") code = text;
                          return std::string();
                        }).walk(xml);
  const auto is_plain = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  const bool is_word = !code.empty() && code.size() <= 64 && std::ranges::all_of(code, is_plain);
#ifdef FORERUN_PLANT_BUG_S3  // set by fuzz/s3/prove.sh only
  return code;
#endif
  return walked && is_word ? code : "";
}

Result<Nanos> parse_s3_time(std::string_view text) {
  const auto malformed = [&] {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no time", text));
  };
  // 2026-11-21T09:05:10[.200]Z
  constexpr std::string_view kPattern = "dddd-dd-ddTdd:dd:dd";
  if (text.size() < kPattern.size() + 1 || !text.ends_with('Z')) return malformed();
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (size_t i = 0; i < kPattern.size(); ++i) {
    if (kPattern[i] == 'd' ? !is_digit(text[i]) : text[i] != kPattern[i]) return malformed();
  }
  const auto number = [&](size_t at, size_t length) {
    return static_cast<int>(parse_number(text.substr(at, length)).value_or(0));
  };
  const std::chrono::year_month_day day{std::chrono::year(number(0, 4)),
                                        std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                        std::chrono::day(static_cast<unsigned>(number(8, 2)))};
  if (!day.ok() || number(0, 4) < 1970 || number(0, 4) > 2200 || number(11, 2) > 23 ||
      number(14, 2) > 59 || number(17, 2) > 60)
    return malformed();
  std::string_view fraction = text.substr(kPattern.size(), text.size() - kPattern.size() - 1);
  int64_t nanos = 0;
  if (!fraction.empty()) {
    if (fraction[0] != '.' || fraction.size() < 2 || fraction.size() > 10) return malformed();
    fraction.remove_prefix(1);
    if (!std::ranges::all_of(fraction, is_digit)) return malformed();
    std::string digits(fraction);
    digits.resize(9, '0');
    nanos = static_cast<int64_t>(*parse_number(digits));
  }
  return Nanos(std::chrono::sys_days(day).time_since_epoch()) + std::chrono::hours(number(11, 2)) +
         std::chrono::minutes(number(14, 2)) + std::chrono::seconds(number(17, 2)) + Nanos(nanos);
}

}  // namespace forerun::net
