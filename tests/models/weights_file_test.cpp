// Weight files of all formats: recognition, archives and arrays by hand, damage of every kind.

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/to_size.h"
#include "models/weights/keras_names.h"
#include "models/weights/mapped_weights.h"
#include "models/weights/numpy_file.h"
#include "models/weights/weight_file.h"
#include "models/weights/zip_archive.h"
#include "tests/base/temporary_folder.h"
#include "tests/paths.h"

using namespace macadam;
using macadam::testing::TemporaryFolder;

namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string little(uint64_t value, size_t bytes) {
  std::string text(bytes, '\0');
  std::memcpy(text.data(), &value, bytes);
  return text;
}

template <typename F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

void expect_error(const std::string& error, const std::string& complaint) {
  EXPECT_NE(error.find(complaint), std::string::npos) << error;
}

std::string golden_folder() { return source_path("tests/golden/weights"); }

/// All but HDF5, which libhdf5 reads.
std::vector<std::string> golden_files() {
  std::vector<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(golden_folder())) {
    if (entry.is_regular_file() && entry.path().extension() != ".h5") {
      paths.push_back(entry.path().string());
    }
  }
  return paths;
}

// Arrays.

std::string npy(const std::string& header, const std::string& data, char version = 1) {
  return std::string("\x93NUMPY") + version + '\0' + little(header.size(), version == 1 ? 2 : 4) +
         header + data;
}

std::string npy_header(const std::string& type, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + type + "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }\n";
}

std::vector<float> npy_values(const std::string& file) {
  const StoredArray array = read_npy(bytes_of(file), "w.npy");
  std::vector<float> values(to_size(elements(array.shape)));
  read_array(array, values);
  return values;
}

TEST(Npy, VersionsAndOrders) {
  const std::string six("\x01\x02\x03\x04\x05\x06");
  for (const char version : {1, 2, 3}) {
    EXPECT_EQ(npy_values(npy(npy_header("|u1", "(2, 3)"), six, version)),
              (std::vector<float>{1, 2, 3, 4, 5, 6}));
  }
  EXPECT_EQ(npy_values(npy(npy_header("|i1", "(2, 3)", true), six)),
            (std::vector<float>{1, 3, 5, 2, 4, 6}));
  EXPECT_EQ(npy_values(npy(npy_header("|u1", "()"), "\x07")), (std::vector<float>{7}));
  EXPECT_EQ(npy_values(npy(npy_header("|u1", "(2L,)"), "\x07\x08")), (std::vector<float>{7, 8}));
  EXPECT_EQ(npy_values(npy(npy_header("<f4", "(0, 3)"), "")), (std::vector<float>{}));
}

TEST(Npy, RefusesWhatItDoesNotKnow) {
  const auto refused = [](const std::string& file, const char* complaint) {
    expect_error(error_of([&] { read_npy(bytes_of(file), "w.npy"); }), complaint);
  };
  refused("PNG", "ends inside");
  refused("not an array", "not an .npy file");
  refused(npy(npy_header(">f4", "(1,)"), "1234"), "type '>f4' cannot be weights");
  refused(npy(npy_header("|O", "(1,)"), "1234"), "type '|O'");
  refused(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "1234"),
          "records");
  refused(npy(npy_header("<f4", "(1,)"), "123"), "does not fit");
  refused(npy(npy_header("<f4", "(1,)"), "12345"), "1 bytes more");
  refused(npy(npy_header("<f4", "(-1,)"), "1234"), "damaged");
  refused(npy(npy_header("<f4", "(1"), "1234"), "damaged");
  refused(npy(npy_header("<f4", "(99999999999999999999,)"), "1234"), "damaged");
  refused(npy(npy_header("<f4", "(4294967296, 4294967296, 4294967296)"), "1234"), "does not fit");
  refused(npy(npy_header("<f4", "(4294967296, 4294967296, 4294967296, 0)"), ""), "does not fit");
  refused(npy(npy_header("<f4", "(1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)"), "1234"), "16 dimensions");
  refused(npy("{'descr': '<f4', 'shape': (1,)}", "1234"), "damaged");
  refused(npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", "1234"),
          "damaged");
  refused(npy(npy_header("<f4", "(1,)"), "1234", 4), "unknown version");
  refused(npy(std::string(70'000, ' '), "", 2), "too long");
}

// Archives.

struct Part {
  std::string name, content;
};

/// A zip archive of stored parts; `zip64` puts sizes and places into 64-bit fields, as PyTorch does
/// for large files.
std::string zip(const std::vector<Part>& parts, bool zip64 = false, const std::string& comment = "",
                uint16_t method = 0, uint16_t flags = 0) {
  std::string file, directory;
  for (const Part& part : parts) {
    const uint64_t place = file.size(), size = part.content.size();
    const std::string small = little(zip64 ? 0xffffffff : size, 4);
    const std::string fields = little(20, 2) + little(flags, 2) + little(method, 2) +
                               std::string(8, '\0') + small + small + little(part.name.size(), 2);
    file += "PK\x03\x04" + fields + little(5, 2) + part.name + "FB" + little(1, 2) + "x";
    file += part.content;
    const std::string wide =
        little(1, 2) + little(24, 2) + little(size, 8) + little(size, 8) + little(place, 8);
    directory += "PK\x01\x02" + little(20, 2) + fields + little(zip64 ? wide.size() : 0, 2) +
                 std::string(10, '\0') + little(zip64 ? 0xffffffff : place, 4) + part.name +
                 (zip64 ? wide : "");
  }
  const uint64_t place = file.size();
  file += directory;
  if (zip64) {
    const uint64_t end = file.size();
    file += "PK\x06\x06" + little(44, 8) + little(0x2d002d, 4) + std::string(8, '\0') +
            little(parts.size(), 8) + little(parts.size(), 8) + little(directory.size(), 8) +
            little(place, 8);
    file += "PK\x06\x07" + std::string(4, '\0') + little(end, 8) + little(1, 4);
  }
  const uint64_t count = zip64 ? 0xffff : parts.size();
  return file + "PK\x05\x06" + std::string(4, '\0') + little(count, 2) + little(count, 2) +
         little(zip64 ? 0xffffffff : directory.size(), 4) + little(zip64 ? 0xffffffff : place, 4) +
         little(comment.size(), 2) + comment;
}

TEST(Zip, FindsPartsByName) {
  const std::vector<Part> parts{{"b", "second"}, {"a/data.pkl", "first"}, {"empty", ""}};
  for (const bool zip64 : {false, true}) {
    for (const std::string& comment : {std::string(), std::string("PK\x05\x06 and more of it")}) {
      const std::string file = zip(parts, zip64, comment);
      const ZipArchive archive(bytes_of(file), "file.zip");
      ASSERT_EQ(archive.entries().size(), 3u);
      for (const Part& part : parts) {
        const auto* entry = archive.find(part.name);
        ASSERT_NE(entry, nullptr) << part.name;
        const auto content = archive.content(*entry);
        EXPECT_EQ(std::string(reinterpret_cast<const char*>(content.data()), content.size()),
                  part.content);
      }
      EXPECT_EQ(archive.find("a"), nullptr);
    }
  }
}

TEST(Zip, RefusesDamage) {
  const auto refused = [](const std::string& file, const char* complaint) {
    expect_error(error_of([&] {
                   const ZipArchive archive(bytes_of(file), "file.zip");
                   for (const auto& entry : archive.entries()) archive.content(entry);
                 }),
                 complaint);
  };
  const std::string good = zip({{"a", "one"}, {"b", "two"}});
  EXPECT_EQ(error_of([&] { ZipArchive(bytes_of(good), "file.zip"); }), "no error");
  refused(good.substr(0, good.size() - 1), "has no end");
  refused(good + "x", "has no end");
  refused(zip({{"a", "one"}, {"a", "two"}}), "occurs twice");
  refused(zip({{"a", "one"}}, false, "", 8), "compressed or encrypted");
  refused(zip({{"a", "one"}}, false, "", 0, 1), "compressed or encrypted");
  // Two entries of the directory that lead to one part: how zip bombs of stored parts are made.
  std::string overlapping = zip({{"a", "one"}, {"a", "two"}});
  const size_t second = overlapping.rfind("PK\x01\x02");
  overlapping.replace(second + 42, 4, little(0, 4));
  refused(overlapping, "overlap");
  std::string renamed = good;
  renamed[30] = 'x';
  refused(renamed, "two names");
  std::string far_away = good;
  far_away.replace(far_away.size() - 6, 4, little(0xfffffff0, 4));
  refused(far_away, "outside the file");
  std::string many = good;
  many.replace(many.size() - 12, 2, little(0xfff0, 2));
  refused(many, "ends inside");
}

TEST(WeightFormats, NpzIsReadByContent) {
  const std::string file = zip({{"w.npy", npy(npy_header("|u1", "(2,)"), "\x07\x08")}});
  const ParsedWeights weights = parse_weights(bytes_of(file), "weights.bin");
  EXPECT_EQ(weights.format, "NumPy archive");
  EXPECT_EQ(weights.arrays.at(0).name, "w");
}

TEST(WeightFormats, WhatIsNoWeightsIsRefusedWithAdvice) {
  const auto refused = [](const std::string& content, const char* complaint) {
    const std::string error = error_of([&] { parse_weights(bytes_of(content), "weights.pth"); });
    expect_error(error, complaint);
    expect_error(error, "weights.pth");
  };
  refused("", "empty");
  refused("version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull");
  refused("<!DOCTYPE html><html>", "a web page");
  refused(std::string(257, 'x') + "ustar" + std::string(255, '\0'), "tar format of 2016");
  refused(npy(npy_header("|u1", "(2,)"), "\x07\x08"), "NAME.npy");
  refused("\x89PNG\r\n\x1a\n and so on", "format of the weights is not known");
  refused(zip({{"config.json", "{}"}, {"model.weights.h5", ""}}), "Keras 3's .keras");
  refused(zip({{"word/document.xml", "<xml>"}}), "without weights");
  refused(zip({{"a/byteorder", "big"}, {"a/data.pkl", "\x80\x02}."}}), "big-endian");
  refused(zip({{"a/constants.pkl", ""}, {"a/data.pkl", "\x80\x02}."}}), "TorchScript");
  refused(little(100, 8) + "{}", "ends inside its header");
}

TEST(WeightFormats, PathsThatAreNoFiles) {
  const TemporaryFolder folder;
  expect_error(error_of([&] { open_weights(folder / "missing.pth"); }), "cannot read the file");
  expect_error(error_of([&] { open_weights(folder.path()); }), "no .npy files");
}

TEST(WeightFormats, SharedDataIsAllowedWithinReason) {
  // 64 arrays that each show the same 4 bytes a million times.
  const std::string data(4, '\x01');
  std::vector<NamedArray> arrays;
  for (int i = 0; i < 64; ++i) {
    arrays.push_back({"w" + std::to_string(i),
                      stored_array(StoredType::f32, {1 << 20}, {0}, 0, bytes_of(data), "w")});
  }
  expect_error(error_of([&] { check_arrays(arrays, data.size(), "w.pth"); }), "repeat their data");
  arrays.resize(1);
  EXPECT_EQ(error_of([&] { check_arrays(arrays, data.size(), "w.pth"); }), "no error");
  arrays.push_back({arrays[0].name, {}});
  expect_error(error_of([&] { check_arrays(arrays, data.size(), "w.pth"); }), "occurs twice");
  arrays[1].name = "\xff";
  expect_error(error_of([&] { check_arrays(arrays, data.size(), "w.pth"); }), "no name");
}

TEST(StoredArray, ViewsOnlyWhatIsContiguousAndAligned) {
  alignas(8) std::array<float, 8> data{0, 1, 2, 3, 4, 5, 6, 7};
  const auto bytes = std::as_bytes(std::span(data));
  const auto viewable = [&](const StoredArray& array) { return view_array(array).has_value(); };
  EXPECT_TRUE(viewable(stored_array(StoredType::f32, {2, 3}, {3, 1}, 1, bytes, "w")));
  EXPECT_TRUE(viewable(stored_array(StoredType::f32, {2, 1, 3}, {3, 77, 1}, 0, bytes, "w")));
  EXPECT_TRUE(viewable(stored_array(StoredType::f32, {}, {}, 7, bytes, "w")));
  EXPECT_FALSE(viewable(stored_array(StoredType::f32, {2, 3}, {4, 1}, 0, bytes, "w")));
  EXPECT_FALSE(viewable(stored_array(StoredType::f32, {3}, {2}, 0, bytes, "w")));
  EXPECT_FALSE(viewable(stored_array(StoredType::i32, {3}, {1}, 0, bytes, "w")));
  EXPECT_FALSE(viewable(stored_array(StoredType::f32, {3}, {1}, 0, bytes.subspan(1), "w")));
  expect_error(error_of([&] { stored_array(StoredType::f8_e4m3, {3}, {1}, 0, bytes, "w"); }),
               "F8_E4M3 cannot be weights");
}

/// Every stride pattern of a small array against plain index arithmetic.
TEST(StoredArray, StridesMatchIndexArithmetic) {
  std::vector<uint16_t> data(200);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint16_t>(i * 3);
  const auto bytes = std::as_bytes(std::span(data));
  std::mt19937 random(1);
  for (int trial = 0; trial < 500; ++trial) {
    TensorShape shape;
    std::vector<int64_t> strides;
    int64_t last = static_cast<int64_t>(random() % 5);
    const int64_t offset = last;
    for (size_t d = random() % 5; d > 0; --d) {
      shape.push_back(1 + static_cast<int64_t>(random() % 4));
      strides.push_back(static_cast<int64_t>(random() % 13));
      last += (shape.back() - 1) * strides.back();
    }
    std::vector<float> expected;
    for (int64_t i = 0; i < elements(shape); ++i) {
      int64_t rest = i, place = offset;
      for (size_t d = shape.size(); d-- > 0; rest /= shape[d])
        place += rest % shape[d] * strides[d];
      expected.push_back(static_cast<float>(place * 3));
    }
    const StoredArray array = stored_array(StoredType::u16, shape, strides, offset, bytes, "w");
    std::vector<float> values(expected.size());
    read_array(array, values);
    EXPECT_EQ(values, expected) << text_of(shape) << " " << text_of(strides);
    expect_error(error_of([&] {
                   stored_array(StoredType::u16, shape, strides, offset,
                                bytes.first(2 * to_size(last)), "w");
                 }),
                 "does not fit");
  }
}

TEST(StoredArray, LargeArraysSurviveThatTheirPagesAreGivenBack) {
  const TemporaryFolder folder;
  std::string data(size_t{20} << 20, '\0');
  for (size_t i = 0; i < data.size(); i += 4) {
    const auto value = static_cast<float>(i / 4 % 1000);
    std::memcpy(data.data() + i, &value, 4);
  }
  fs::create_directory(folder / "w");
  write_file_atomically(folder / "w" / "a.npy",
                        npy(npy_header("<f4", "(" + std::to_string(data.size() / 4) + ",)"), data));
  const auto file = open_weights(folder / "w");
  for (int round = 0; round < 2; ++round) {
    std::vector<float> values(data.size() / 4);
    file->read(0, values);
    EXPECT_EQ(std::memcmp(values.data(), data.data(), data.size()), 0);
  }
}

TEST(KerasNames, OfEveryVersion) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(keras_names("conv", Names{"conv/kernel:0", "conv/bias:0"}),
            (Names{"conv/kernel", "conv/bias"}));
  EXPECT_EQ(keras_names("conv", Names{"conv_W_1:0", "conv_b_1:0"}),
            (Names{"conv/kernel", "conv/bias"}));
  EXPECT_EQ(keras_names("conv", Names{"conv_W:0", "conv_b:0"}),
            (Names{"conv/kernel", "conv/bias"}));
  EXPECT_EQ(keras_names("bn", Names{"bn_running_mean_1:0", "bn_running_std_1:0"}),
            (Names{"bn/moving_mean", "bn/moving_variance"}));
  EXPECT_EQ(keras_names("conv", Names{"conv/kernel", "conv/bias"}),
            (Names{"conv/kernel", "conv/bias"}));
  EXPECT_EQ(keras_names("conv1/bn", Names{"conv1/bn/gamma:0", "conv1/bn/beta:0"}),
            (Names{"conv1_bn/gamma", "conv1_bn/beta"}));
  EXPECT_EQ(keras_names("conv2d_3", Names{"conv2d_3_1/kernel_1:0"}), (Names{"conv2d_3/kernel"}));
  EXPECT_EQ(keras_names("vgg", Names{"vgg/a/kernel:0", "vgg/b_1/kernel:0"}),
            (Names{"a/kernel", "b_1/kernel"}));
  EXPECT_EQ(keras_names("sep", Names{"sep/depthwise_kernel:0", "sep/pointwise_kernel:0"}),
            (Names{"sep/depthwise_kernel", "sep/pointwise_kernel"}));
  EXPECT_EQ(keras_names("empty", Names{}), Names{});
}

TEST(KerasNames, OfVariablesByTheirShapes) {
  using Kinds = std::vector<std::string>;
  using Shapes = std::vector<TensorShape>;
  const TensorShape four{3, 3, 8, 8}, one{8};
  EXPECT_EQ(keras3_kinds("conv2d", "a", Shapes{four, one}), (Kinds{"kernel", "bias"}));
  EXPECT_EQ(keras3_kinds("dense", "a", Shapes{{8, 4}}), Kinds{"kernel"});
  EXPECT_EQ(keras3_kinds("dw", "depthwise_conv2d", Shapes{four}), Kinds{"depthwise_kernel"});
  EXPECT_EQ(keras3_kinds("batch_normalization", "a", Shapes{one, one, one, one}),
            (Kinds{"gamma", "beta", "moving_mean", "moving_variance"}));
  EXPECT_EQ(keras3_kinds("norm", "bn_data", Shapes{one, one, one}),
            (Kinds{"beta", "moving_mean", "moving_variance"}));
  EXPECT_EQ(keras3_kinds("layer_normalization", "a", Shapes{one, one}), (Kinds{"gamma", "beta"}));
  for (const Shapes& unknown :
       {Shapes{one}, Shapes{one, one}, Shapes{one, one, one}, Shapes{one, four}, Shapes{four, four},
        Shapes{four, one, one}, Shapes{one, one, one, {4}}}) {
    EXPECT_EQ(keras3_kinds("mixture", "a", unknown), std::nullopt);
  }
}

TEST(KerasNames, GroupsOfKeras3AreOrderedAsKerasWalksThem) {
  const std::vector<std::string> ordered{"layers", "1",        "2",         "10",
                                         "conv2d", "conv2d_2", "conv2d_10", "dense"};
  for (size_t i = 0; i < ordered.size(); ++i) {
    for (size_t j = 0; j < ordered.size(); ++j) {
      EXPECT_EQ(keras3_before(ordered[i], ordered[j]), i < j) << ordered[i] << ", " << ordered[j];
    }
  }
  EXPECT_TRUE(keras3_training_state("optimizer"));
  EXPECT_TRUE(keras3_training_state("seed_generator_1"));
  EXPECT_FALSE(keras3_training_state("conv2d"));
}

TEST(FiniteCheck, NamesFileTensorAndPlace) {
  std::vector<float> values(10'000, std::numeric_limits<float>::max());
  EXPECT_EQ(first_non_finite(values), std::nullopt);
  EXPECT_EQ(first_non_finite({}), std::nullopt);
  EXPECT_NO_THROW(check_finite(values, "w.pth", "conv.weight"));
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    for (const size_t place : {size_t{0}, size_t{4095}, size_t{4096}, size_t{9999}}) {
      auto broken = values;
      broken[place] = bad;
      broken[9999] = bad;
      EXPECT_EQ(first_non_finite(broken), place);
    }
  }
  values[7] = std::numeric_limits<float>::quiet_NaN();
  const std::string error = error_of([&] { check_finite(values, "w.pth", "conv.weight"); });
  expect_error(error, "element 7 of 10000 is nan");
  expect_error(error, "w.pth: 'conv.weight'");
}

// Damage. Bytes are copied to a block of exactly their size, so that a sanitizer sees any reading
// past the end.

void parse_and_read(std::span<const std::byte> content) {
  const auto copy = std::make_unique<std::byte[]>(content.size());
  if (!content.empty()) std::memcpy(copy.get(), content.data(), content.size());
  try {
    const ParsedWeights weights = parse_weights({copy.get(), content.size()}, "damaged");
    for (const NamedArray& named : weights.arrays) {
      std::vector<float> values(to_size(elements(named.array.shape)));
      read_array(named.array, values);
    }
  } catch (const InputError&) {
  }
}

TEST(DamagedWeights, TruncatedAnywhereEndsInAnInputError) {
  for (const std::string& path : golden_files()) {
    const std::string content = read_file(path, 1 << 20);
    for (size_t size = 0; size < content.size(); ++size) {
      const auto part = bytes_of(content).first(size);
      ASSERT_NO_THROW(parse_and_read(part)) << path << " cut to " << size;
      const std::string error = error_of([&] { parse_weights(part, path); });
      ASSERT_NE(error, "no error") << path << " cut to " << size;
    }
  }
}

TEST(DamagedWeights, ChangedBytesEndInWeightsOrAnInputError) {
  std::mt19937 random(7);
  for (const std::string& path : golden_files()) {
    const std::string content = read_file(path, 1 << 20);
    if (content.empty()) continue;
    for (int trial = 0; trial < 500; ++trial) {
      std::string changed = content;
      for (size_t n = 1 + random() % 3; n > 0; --n) {
        const std::array<char, 6> interesting{'\0',   '\x01', '\x7f',
                                              '\x80', '\xff', static_cast<char>(random())};
        changed[random() % changed.size()] = interesting[random() % interesting.size()];
      }
      ASSERT_NO_THROW(parse_and_read(bytes_of(changed))) << path << " trial " << trial;
    }
  }
}

}  // namespace
