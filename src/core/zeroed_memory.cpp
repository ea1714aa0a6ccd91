#include "core/zeroed_memory.h"

#include <sys/mman.h>

#include <cstring>
#include <new>
#include <utility>

namespace forerun {
namespace {

constexpr std::align_val_t kAlignment{ZeroedMemory::kSlabBytes};

std::byte* make_slab() {
  constexpr size_t kSlab = ZeroedMemory::kSlabBytes;
  auto* slab = static_cast<std::byte*>(::operator new(kSlab, kAlignment));
  madvise(slab, kSlab, MADV_HUGEPAGE);  // small pages do as well, if slower
  std::memset(slab, 0, kSlab);
  return slab;
}

}  // namespace

ZeroedMemory::~ZeroedMemory() {
  for (std::byte* slab : slabs_) ::operator delete(slab, kAlignment);
}

ZeroedMemory::ZeroedMemory(ZeroedMemory&& other) noexcept
    : slabs_(std::exchange(other.slabs_, {})), used_(std::exchange(other.used_, kSlabBytes)) {}

ZeroedMemory& ZeroedMemory::operator=(ZeroedMemory&& other) noexcept {
  std::swap(slabs_, other.slabs_);
  std::swap(used_, other.used_);
  return *this;
}

std::byte* ZeroedMemory::allocate(size_t size) {
  used_ = round_up(used_, size);
  if (used_ + size > kSlabBytes) {
    slabs_.reserve(slabs_.size() + 1);  // what could fail, before there is something to lose
    slabs_.push_back(make_slab());
    used_ = 0;
  }
  used_ += size;
  return slabs_.back() + used_ - size;
}

}  // namespace forerun
