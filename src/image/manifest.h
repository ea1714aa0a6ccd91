// A manifest: which components a VM's disk is made of, in which order, and what is set on top. Its
// digest, over one canonical form, names the image. Format: docs/format_manifest.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/id.h"
#include "core/result.h"

namespace forerun::image {

// A component by the name of its tag, or pinned by the digest of its index.
struct ComponentWish {
  std::string name;              // as is_valid_name
  std::optional<Digest> digest;  // "nginx@<64 hex digits>"
  bool operator==(const ComponentWish&) const = default;
};

struct ManifestUser {
  std::string name;
  std::optional<uint32_t> uid;      // none: the first free from 1000
  std::vector<std::string> groups;  // by name; they must exist
  std::string shell = "/bin/bash";
  std::vector<std::string> ssh_keys;  // lines of ~/.ssh/authorized_keys
  bool operator==(const ManifestUser&) const = default;
};

// For systemd-networkd.
struct ManifestNetwork {
  std::string match = "e*";  // interface names, as [Match] Name=
  std::string address;       // "10.0.2.15/24"; empty: DHCP
  std::string gateway;
  std::vector<std::string> dns;
  bool operator==(const ManifestNetwork&) const = default;
};

struct ManifestFile {
  std::string path;  // absolute, without "." and ".."
  std::string content;
  uint16_t mode = 0644;
  std::string owner = "root", group = "root";
  bool operator==(const ManifestFile&) const = default;
};

struct Manifest {
  ComponentWish base;
  std::vector<ComponentWish> components;  // on top, in order
  std::vector<std::string> rank;          // paths at which the last component wins; "x/": all below
  bool allow_other_base = false;          // components that were built on another base
  uint64_t writable_bytes = 2ull << 30;   // free space in the file system
  bool grow = false;                      // at boot the file system becomes as large as the disk
  std::string hostname;                   // empty: as the components have it
  std::optional<ManifestNetwork> network;
  std::vector<ManifestUser> users;
  std::vector<ManifestFile> files;
  std::vector<std::string> enable, mask;     // units
  std::vector<std::string> ca_certificates;  // of authorities to trust besides, in PEM
  bool operator==(const Manifest&) const = default;
};

inline constexpr size_t kManifestBytesMax = 1024 * 1024;
inline constexpr size_t kManifestComponentsMax = 64;
inline constexpr uint64_t kWritableBytesMax = 1ull << 40;

// Returns the manifest in `text`, TOML or JSON; `file_name` is for errors. What is unknown is
// refused, with its place. ERRORS: kInvalid, kTooLarge, kUnsupported (another version), saying what
// and where.
Result<Manifest> parse_manifest(std::string_view text, std::string_view file_name);

// Returns the canonical form, which parse_manifest reads: every field, in one order.
std::string canonical_text(const Manifest& manifest);
// Returns the SHA-256 of the canonical form.
Digest digest_of(const Manifest& manifest);

}  // namespace forerun::image
