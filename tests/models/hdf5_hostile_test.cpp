// HDF5 files that are damaged or made to break libhdf5: whatever they do to it, opening and reading
// them ends with weights or with one InputError.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/to_size.h"
#include "models/weights/hdf5_file.h"
#include "models/weights/weight_file.h"
#include "tests/base/temporary_folder.h"
#include "tests/paths.h"

namespace macadam {
namespace {

std::string golden(const std::string& name) {
  return read_file(source_path("tests/golden/weights/" + name), 1 << 24);
}

/// "" when all tensors could be read, else the error, which names the file.
std::string outcome(const std::filesystem::path& file) {
  try {
    const auto weights = open_weights(file);
    for (size_t i = 0; i < weights->tensors().size(); ++i) {
      std::vector<float> values(to_size(elements(weights->tensors()[i].shape)));
      weights->read(i, values);
    }
    return "";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(file.filename().string()), std::string::npos)
        << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
}

class HostileHdf5 : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_hdf5()) GTEST_SKIP() << "built without HDF5";
  }
  std::string outcome_of(const std::string& content) {
    write_file_atomically(file_, content);
    return outcome(file_);
  }

  testing::TemporaryFolder folder_;
  const std::filesystem::path file_ = folder_ / "hostile.h5";
};

const std::vector<std::string>& seeds() {
  static const std::vector<std::string> files{
      golden("keras2.h5"), golden("keras3.h5"), golden("keras3.weights.h5"),
      golden("keras_chunked.h5"), golden("keras_nested.h5")};
  return files;
}

/// As damaged disks, and people, change a file: bytes, lengths, pieces.
std::string mutated(std::string content, std::mt19937& random) {
  const auto below = [&](size_t count) { return random() % count; };
  constexpr std::array<uint64_t, 8> odd{0,      1,          0x7f,       0xff,
                                        0xffff, 0x7fffffff, 0xffffffff, 0xffffffffffffffff};
  const size_t changes = 1 + below(8);
  for (size_t i = 0; i < changes; ++i) {
    // Half of them where the structure is: at the beginning.
    const size_t range = below(2) == 0 ? std::min<size_t>(content.size(), 4096) : content.size();
    const size_t place = below(range);
    const size_t width = size_t{1} << below(4);
    switch (below(5)) {
      case 0: content[place] = static_cast<char>(content[place] ^ (1 << below(8))); break;
      case 1: content[place] = static_cast<char>(below(256)); break;
      case 2:
        if (place + width <= content.size()) {
          std::memcpy(content.data() + place, &odd[below(odd.size())], width);
        }
        break;
      case 3: {  // one piece over another
        const size_t from = below(content.size()), length = 1 + below(64);
        content.replace(place, length, content.substr(from, length));
        break;
      }
      default:
        if (below(8) == 0) content.resize(place + 1);
    }
  }
  return content;
}

// A segmentation fault in libhdf5 1.10.8: noise over a group's names.
TEST_F(HostileHdf5, ACrashIsAnError) {
  constexpr size_t place = 2094;
  const std::string noise(
      "\x86\x93\x91\x21\x2f\x44\x56\x09\x9e\xdf\xf0\x50\x3b\x74\x47\xcf"
      "\xf8\x99\xba\xb0\xdb\xf2\x64\x77\x45\xbd\x7d\x82\xfe\x3e\x22\x88"
      "\x81\x7f\x19\xfe\x6e\x74\xb1\xa8\x54\x4d\x4f\xe8\xe7\x6a\x87\x19"
      "\x40\xd8\x11\x79\xa3\xc2\x81\xf4\x3b\xa2\x01\x1d\xca\x6b\x3d\x7c",
      64);
  std::string content = golden("keras_types.h5");
  content.replace(place, noise.size(), noise);
  EXPECT_NE(outcome_of(content), "");
}

// libhdf5 1.10.8 goes round in circles.
TEST_F(HostileHdf5, WhatNeverEndsIsAnError) {
  constexpr uint32_t circle = 114;
  std::mt19937 random(circle);
  const std::string seed = seeds()[random() % seeds().size()];
  EXPECT_NE(outcome_of(mutated(seed, random)), "");
}

// The length of a text differs between the attribute and the heap that keeps it: libhdf5 1.10.8
// allocates by one and copies by the other.
TEST_F(HostileHdf5, ATextLongerThanItsLengthDoesNoHarm) {
  std::string content = golden("keras3.h5");
  size_t changed = 0;
  // A reference: length (4 bytes), address of the heap (8), index in it (4).
  for (size_t at = 0; at + 16 <= content.size(); ++at) {
    uint32_t length = 0;
    uint64_t heap = 0;
    std::memcpy(&length, content.data() + at, sizeof(length));
    std::memcpy(&heap, content.data() + at + sizeof(length), sizeof(heap));
    if (length == 0 || length > 64 || heap > content.size() || heap == 0) continue;
    if (content.compare(heap, 4, "GCOL") != 0) continue;
    content[at] = '\x01';
    ++changed;
  }
  ASSERT_GT(changed, 0u);
  outcome_of(content);
}

// More of them with MACADAM_HDF5_MUTATIONS=10000.
TEST_F(HostileHdf5, MutationsEndInWeightsOrOneError) {
  const char* wanted = std::getenv("MACADAM_HDF5_MUTATIONS");
  const int count = wanted == nullptr ? 40 : std::atoi(wanted);
  std::map<std::string, int> outcomes;
  for (int i = 0; i < count; ++i) {
    std::mt19937 random(static_cast<uint32_t>(i));
    const std::string text = outcome_of(mutated(seeds()[random() % seeds().size()], random));
    ++outcomes[text.substr(0, text.find(':'))];
    if (wanted != nullptr) std::cout << i << ": " << text << "\n";
  }
  EXPECT_GT(outcomes.size(), 3u) << "the mutations reach nothing";
}

}  // namespace
}  // namespace macadam
