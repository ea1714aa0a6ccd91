// What an S3 service answers in XML: a page of a listing, an error. Parsed by expat, strictly and
// within limits: the service may be anybody.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace forerun::net {

struct S3ListedObject {
  std::string key;
  uint64_t size_bytes = 0;
  Nanos modified{};  // since 1970
  bool operator==(const S3ListedObject&) const = default;
};

struct S3ListPage {
  std::vector<S3ListedObject> objects;
  std::string next;  // continuation token; empty: this was the last page
};

inline constexpr size_t kS3ListPageBytesMax = 4u << 20;
inline constexpr size_t kS3ListPageObjectsMax = 1000;

// Returns the page that ListObjectsV2 answered with.
// ERRORS: kCorrupt, saying what is wrong: no XML, a document type (the door of entity bombs), a
// depth over 8, more objects than asked for, fields that are missing, too long or malformed.
Result<S3ListPage> parse_s3_list_page(std::string_view xml);

// Returns the code of an error ("NoSuchKey"); empty if `xml` is none, or its code is not one to
// be repeated: 1–64 letters and digits.
std::string s3_error_code(std::string_view xml);

// Returns the moment of "2026-11-21T09:05:10.200Z". ERRORS: kInvalid.
Result<Nanos> parse_s3_time(std::string_view text);

}  // namespace forerun::net
