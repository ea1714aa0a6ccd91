// Where the keys to an S3 service come from: a file in the manner of ~/.aws/credentials, or the
// usual environment variables. Errors never repeat what they read.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "core/result.h"
#include "net/s3_signature.h"

namespace forerun::net {

inline constexpr size_t kS3CredentialsBytesMax = 64u << 10;

// Returns the keys in `text`: lines "aws_access_key_id = …", "aws_secret_access_key = …" and maybe
// "aws_session_token = …", before any "[section]" or in "[default]"; '#' and ';' begin comments.
// Other names and sections are overlooked. ERRORS: kInvalid, naming what is missing.
Result<S3Credentials> parse_s3_credentials(std::string_view text);

// Returns the keys in the file. ERRORS: as above; kDenied if it can be read by everybody;
// kNotFound, kTooLarge, kIo.
Result<S3Credentials> read_s3_credentials(const std::string& path);

// Returns the keys in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
// ERRORS: kInvalid, naming what is missing.
Result<S3Credentials> s3_credentials_of(const std::map<std::string, std::string>& environment);

}  // namespace forerun::net
