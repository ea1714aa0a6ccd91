#include "migrate/page_records.h"

#include <gmock/gmock.h>

#include "core/rng.h"
#include "migrate/batch_codec.h"

namespace forerun::migrate {
namespace {

using testing::HasSubstr;

const std::vector<RamBlock> kBlocks{{"pc.ram", 5000 * kPageBytes}, {"pc.bios", 8 * kPageBytes}};

Buffer random_page(Rng& rng) {
  Buffer page(kPageBytes);
  for (auto& byte : page) byte = static_cast<std::byte>(rng.next());
  return page;
}

struct Heard {
  std::map<uint64_t, Buffer> pages;
  PageDecoder::OnPage on_page() {
    return [this](const PageRecord& page) -> Status {
      Buffer data(page.data.begin(), page.data.end());
      if (data.empty()) data.assign(kPageBytes, page.fill);
      pages[PageKey::of(page.block, page.offset).value] = std::move(data);
      return {};
    };
  }
  const Buffer& at(uint32_t block, uint64_t number) {
    return pages.at(PageKey::of(block, number * kPageBytes).value);
  }
};

std::string refused(ByteView batch) {
  PageDecoder decoder({.kept_pages = 1, .recent_pages = 2});
  Heard heard;
  const Status status = decoder.decode(batch, kBlocks, heard.on_page());
  return status ? std::string() : status.error().message;
}

TEST(PageDelta, IsAsLongAsWhatChanged) {
  Rng rng(1);
  PageBytes before{};
  const Buffer first = random_page(rng);
  std::copy(first.begin(), first.end(), before.begin());
  Buffer after = first;
  after[0] ^= std::byte{1};
  after[5] ^= std::byte{1};  // so near that both are one run
  after[4095] ^= std::byte{1};
  Buffer delta;
  ASSERT_TRUE(encode_delta(before, after, 2048, delta));
  EXPECT_EQ(delta.size(), 2 + 6 + 3 + 1);
  PageBytes page = before;
  ASSERT_TRUE(apply_delta(delta, page));
  EXPECT_TRUE(std::equal(page.begin(), page.end(), after.begin()));
  const Buffer other = random_page(rng);
  delta.clear();
  EXPECT_FALSE(encode_delta(before, other, 2048, delta));
  EXPECT_TRUE(delta.empty());
}

TEST(PageDelta, OfAnythingIsThatThing) {
  Rng rng(2);
  for (int round = 0; round < 200; ++round) {
    PageBytes before{};
    const Buffer first = random_page(rng);
    std::copy(first.begin(), first.end(), before.begin());
    Buffer after = first;
    for (uint64_t i = rng.below(40); i > 0; --i) {
      const uint64_t at = rng.below(kPageBytes), length = rng.below(kPageBytes - at);
      for (uint64_t j = at; j < at + length % 60; ++j)
        after[j] = static_cast<std::byte>(rng.next());
    }
    Buffer delta;
    ASSERT_TRUE(encode_delta(before, after, 5000, delta));
    PageBytes page = before;
    ASSERT_TRUE(apply_delta(delta, page));
    EXPECT_TRUE(std::equal(page.begin(), page.end(), after.begin()));
  }
}

TEST(PageRecords, EachFormIsReadAsItWas) {
  Rng rng(3);
  const Buffer one = random_page(rng), two = random_page(rng);
  Buffer changed = one;
  changed[100] ^= std::byte{0xff};
  PageEncoder encoder({.kept_pages = 2, .recent_pages = 4});
  const auto form = [&](uint64_t number, ByteView data, bool keep) {
    return encoder.add({.block = 0, .offset = number * kPageBytes, .data = data}, keep).form;
  };
  EXPECT_EQ(form(1, one, true), PageForm::kWhole);
  EXPECT_EQ(form(2, two, false), PageForm::kWhole);
  EXPECT_EQ(form(3, one, true), PageForm::kRecent);
  EXPECT_EQ(form(1, changed, false), PageForm::kDelta);
  EXPECT_EQ(form(3, changed, false), PageForm::kDelta);
  EXPECT_EQ(form(2, changed, false), PageForm::kWhole);
  EXPECT_EQ(encoder.kept_pages(), 2);
  EXPECT_EQ(encoder.add({.block = 1, .offset = 0, .fill = std::byte{7}}, true).form,
            PageForm::kFill);
  PageDecoder decoder({.kept_pages = 2, .recent_pages = 4});
  Heard heard;
  const Status status = decoder.decode(encoder.batch(), kBlocks, heard.on_page());
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(heard.at(0, 1), changed);
  EXPECT_EQ(heard.at(0, 2), changed);
  EXPECT_EQ(heard.at(0, 3), changed);
  EXPECT_EQ(heard.at(1, 0), Buffer(kPageBytes, std::byte{7}));
}

TEST(PageRecords, NeighboursFilledAlikeAreOneRecord) {
  PageEncoder encoder({});
  for (uint64_t number = 0; number < 4000; ++number)
    encoder.add({.block = 0, .offset = number * kPageBytes}, false);
  EXPECT_LT(encoder.batch().size(), 10u);
  PageDecoder decoder({});
  Heard heard;
  ASSERT_TRUE(decoder.decode(encoder.batch(), kBlocks, heard.on_page()));
  EXPECT_EQ(heard.pages.size(), 4000u);
  EXPECT_EQ(heard.at(0, 3999), Buffer(kPageBytes));
}

TEST(PageRecords, TheRingForgetsOnBothSidesAlike) {
  Rng rng(4);
  std::vector<Buffer> contents;
  for (int i = 0; i < 6; ++i) contents.push_back(random_page(rng));
  PageEncoder encoder({.kept_pages = 0, .recent_pages = 3});
  PageDecoder decoder({.kept_pages = 0, .recent_pages = 3});
  std::vector<Buffer> guest(50);
  Heard heard;
  for (int i = 0; i < 400; ++i) {
    const uint64_t number = rng.below(guest.size());
    guest[number] = contents[rng.below(contents.size())];
    encoder.add({.block = 0, .offset = number * kPageBytes, .data = guest[number]}, true);
    if (rng.chance(0.2)) {
      ASSERT_TRUE(decoder.decode(encoder.batch(), kBlocks, heard.on_page()));
      encoder.clear_batch();
    }
  }
  ASSERT_TRUE(decoder.decode(encoder.batch(), kBlocks, heard.on_page()));
  for (uint64_t number = 0; number < guest.size(); ++number)
    EXPECT_EQ(guest[number].empty() ? guest[number] : heard.at(0, number), guest[number]);
}

TEST(PageRecords, RefusesWhatNoSenderSays) {
  const auto bytes = [](std::initializer_list<int> all) {
    Buffer out;
    for (const int byte : all) out.push_back(static_cast<std::byte>(byte));
    return out;
  };
  EXPECT_THAT(refused(bytes({0})), HasSubstr("amid its number"));
  EXPECT_THAT(refused(bytes({0, 2, 0})), HasSubstr("memory block 2, of 2"));
  EXPECT_THAT(refused(bytes({0, 1, 8})), HasSubstr("page 8 of pc.bios"));
  EXPECT_THAT(refused(bytes({0, 1, 7, 1})), HasSubstr("ends too soon"));
  EXPECT_THAT(refused(bytes({1, 1, 7, 0, 2})), HasSubstr("not its own"));
  EXPECT_THAT(refused(bytes({1, 1, 7, 0, 0})), HasSubstr("not its own"));
  EXPECT_THAT(refused(bytes({2, 1, 7, 1})), HasSubstr("not sent lately"));
  EXPECT_THAT(refused(bytes({3, 1, 7, 1, 2, 3, 4, 5, 6, 7, 8, 0})), HasSubstr("not kept"));
  EXPECT_THAT(refused(bytes({3, 1, 7, 1, 2, 3, 4, 5, 6, 7, 8, 90})), HasSubstr("ends too soon"));
  EXPECT_THAT(refused(bytes({0x11, 1, 7, 0, 1})), HasSubstr("form 0x11"));
  EXPECT_THAT(refused(bytes({4, 1, 7, 0, 1})), HasSubstr("known, but are not"));
  EXPECT_THAT(refused(bytes({5, 1, 7})), HasSubstr("form 0x5"));
  EXPECT_THAT(refused(bytes({0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})),
              HasSubstr("amid its number"));
  Buffer filling;
  for (uint64_t i = 0; i < kBatchPagesMax / kFillPagesMax + 1; ++i)
    for (const int byte : {1, 0, 0, 0, 0x80, 0x20}) filling.push_back(static_cast<std::byte>(byte));
  EXPECT_THAT(refused(filling), HasSubstr("more pages in a batch"));
}

TEST(PageRecords, RefusesMoreKeptPagesThanAgreed) {
  PageEncoder encoder({.kept_pages = 3, .recent_pages = 2});
  Rng rng(5);
  for (uint64_t number = 0; number < 3; ++number)
    encoder.add({.block = 0, .offset = number * kPageBytes, .data = random_page(rng)}, true);
  EXPECT_THAT(refused(encoder.batch()), HasSubstr("than was agreed"));
}

TEST(PageRecords, APageThatBecameAnotherOnTheWayIsNoticed) {
  Rng rng(6);
  Buffer page = random_page(rng);
  PageEncoder encoder({});
  PageDecoder decoder({});
  Heard heard;
  encoder.add({.block = 0, .offset = 0, .data = page}, true);
  Buffer batch(encoder.batch().begin(), encoder.batch().end());
  batch[100] ^= std::byte{1};
  ASSERT_TRUE(decoder.decode(batch, kBlocks, heard.on_page()));
  encoder.clear_batch();
  page[4000] ^= std::byte{1};
  encoder.add({.block = 0, .offset = 0, .data = page}, true);
  const Status status = decoder.decode(encoder.batch(), kBlocks, heard.on_page());
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("not what was sent"));
}

TEST(CodecChooser, PacksForSlowLinksAndNotForFastOnes) {
  CodecChooser chooser;
  for (int i = 0; i < 50; ++i) {
    chooser.learn(BatchCodec::kFast, 100'000, 60'000, 100us);   // 1 GB/s
    chooser.learn(BatchCodec::kZstd1, 100'000, 45'000, 250us);  // 400 MB/s
    chooser.learn(BatchCodec::kZstd3, 100'000, 42'000, 700us);  // 143 MB/s
  }
  EXPECT_EQ(chooser.choose(10e6), BatchCodec::kZstd3);
  EXPECT_EQ(chooser.choose(120e6), BatchCodec::kZstd1);
  EXPECT_EQ(chooser.choose(500e6), BatchCodec::kFast);
  EXPECT_EQ(chooser.choose(5e9), BatchCodec::kNone);
}

TEST(CodecChooser, SendsWhatDoesNotPackAsItIsButLooksAgain) {
  CodecChooser chooser;
  std::array<int, kBatchCodecs> chosen{};
  for (int i = 0; i < 320; ++i) {
    const BatchCodec codec = chooser.choose(25e6);
    ++chosen[static_cast<size_t>(codec)];
    chooser.learn(codec, 100'000, 100'000, 100us);
  }
  EXPECT_GT(chosen[0], 280);
  EXPECT_GT(chosen[1] + chosen[2] + chosen[3], 15);
}

TEST(BatchPacker, WhatWasPackedIsUnpacked) {
  BatchPacker packer;
  BatchUnpacker unpacker;
  Rng rng(7);
  const Buffer noise = random_page(rng), plain(50'000, std::byte{3});
  Buffer packed;
  EXPECT_EQ(packer.pack(noise, BatchCodec::kZstd1, packed), BatchCodec::kNone);
  EXPECT_EQ(packed, noise);
  packed.clear();
  EXPECT_EQ(packer.pack(plain, BatchCodec::kFast, packed), BatchCodec::kFast);
  EXPECT_LT(packed.size(), 100u);
  const auto codec = static_cast<uint8_t>(BatchCodec::kFast);
  const auto unpacked = unpacker.unpack(packed, codec, plain.size());
  ASSERT_TRUE(unpacked);
  EXPECT_TRUE(std::ranges::equal(*unpacked, plain));
  EXPECT_FALSE(unpacker.unpack(packed, codec, plain.size() - 1));
  EXPECT_FALSE(unpacker.unpack(packed, codec, plain.size() + 1));
  EXPECT_FALSE(unpacker.unpack(packed, 9, plain.size()));
  EXPECT_FALSE(unpacker.unpack(packed, 0, plain.size()));
}

TEST(PageStore, TakesPagesFromAnother) {
  Rng rng(1);
  const Buffer one = random_page(rng), other = random_page(rng);
  PageStore from(4), to(2);
  const PageKey a = PageKey::of(0, 0), b = PageKey::of(0, kPageBytes), c = PageKey::of(1, 0);
  from.set(a, one);
  from.set(b, other);
  from.set(c, other);
  to.set(a, other);
  EXPECT_TRUE(to.take_from(from, a));  // in place of its own
  EXPECT_TRUE(to.take_from(from, b));
  EXPECT_FALSE(to.take_from(from, b));  // it is gone from there
  EXPECT_FALSE(to.take_from(from, c));  // full
  EXPECT_EQ(from.keys(), std::vector{c});
  EXPECT_EQ(to.size(), 2u);
  EXPECT_TRUE(std::equal(one.begin(), one.end(), to.find(a)->begin()));
  EXPECT_TRUE(std::equal(other.begin(), other.end(), to.find(b)->begin()));
}

}  // namespace
}  // namespace forerun::migrate
