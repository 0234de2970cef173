#include "engine/model/safetensors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using macadam::testing::TemporaryFolder;

namespace {

/// A file of `header` and `data_bytes` zero bytes.
std::string file_of(const std::string& header, size_t data_bytes, uint64_t header_bytes) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &header_bytes, 8);
  return file + header + std::string(data_bytes, '\0');
}

std::string file_of(const std::string& header, size_t data_bytes) {
  return file_of(header, data_bytes, header.size());
}

SafetensorsContent parse(const std::string& file) {
  return parse_safetensors(std::as_bytes(std::span(file)), "model.safetensors");
}

template <typename T>
StoredTensor stored(StoredType type, TensorShape shape, const std::vector<T>& values) {
  return {type, std::move(shape), std::as_bytes(std::span(values))};
}

struct BadFile {
  const char* name;
  std::string content;
  const char* complaint;
};

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

std::vector<BadFile> bad_files() {
  const std::string a = tensor("a", "F32", "[2]", "[0,8]");
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets, size_t bytes) {
    return file_of("{" + tensor("a", dtype, shape, offsets) + "}", bytes);
  };
  std::string deep = "{\"a\":";
  for (int i = 0; i < 100'000; ++i) deep += "[";
  std::string deep_objects;
  for (int i = 0; i < 100'000; ++i) deep_objects += "{\"a\":";
  const std::string good = file_of("{" + a + "}", 8);
  return {
      {"Empty", "", "not a safetensors file"},
      {"Png", "\x89PNG\r\n\x1a\n and more of it", "not a safetensors file"},
      {"Zip", std::string("PK\x03\x04", 4) + std::string(60, 'z'), "not a safetensors file"},
      {"HugeHeader", file_of("{}", 0, uint64_t{2} << 30), "a header of 2147483648 bytes"},
      {"HeaderLengthOverflows", file_of("{}", 0, ~uint64_t{0}), "a header of"},
      {"CutInsideHeader", good.substr(0, 20), "ends inside its header"},
      {"CutInsideData", good.substr(0, good.size() - 1), "outside the file"},
      {"NotJson", file_of("{\"a\" 1}", 0), "not JSON"},
      {"TextAfterJson", file_of("{}x", 0), "not JSON"},
      {"ZeroByte", file_of(std::string("{}\0x", 4), 0), "zero byte"},
      {"NameNotUtf8", file_of("{\"\xff\":1}", 0), "not JSON"},
      {"SameNameTwice", file_of("{" + a + "," + a + "}", 8), "twice"},
      {"SameFieldTwice",
       file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
       "dtype occurs twice"},
      {"SameShapeTwice",
       file_of(R"({"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}})", 8),
       "shape occurs twice"},
      {"SameMetadataTwice", file_of(R"({"__metadata__":{"k":"1","k":"2"}})", 0), "twice"},
      {"MetadataTwice", file_of(R"({"__metadata__":{},"__metadata__":{}})", 0), "twice"},
      {"MetadataNotText", file_of(R"({"__metadata__":{"k":1}})", 0), "does not know"},
      {"MetadataNotObject", file_of(R"({"__metadata__":"x"})", 0), "does not know"},
      {"TensorNotObject", file_of(R"({"a":[1]})", 0), "does not know"},
      {"UnknownField",
       file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":"y"}})", 8),
       "does not know"},
      {"NoShape", file_of(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8), "lacks"},
      {"UnknownType", one("F12", "[2]", "[0,8]", 8), "unknown dtype 'F12'"},
      {"NegativeExtent", one("F32", "[-2]", "[0,8]", 8), "does not know"},
      {"FractionalExtent", one("F32", "[2.0]", "[0,8]", 8), "does not know"},
      {"ExtentBeyond64Bits", one("F32", "[36893488147419103232]", "[0,8]", 8), "does not know"},
      {"ShapeOverflows", one("F32", "[4294967296,4294967296]", "[0,8]", 8), "too large"},
      {"ShapeOverflowsBeforeAZero", one("F32", "[4611686018427387904,4,0]", "[0,0]", 0),
       "too large"},
      {"TooManyDimensions", one("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]", 1),
       "too many"},
      {"NestedShape", one("F32", "[[2]]", "[0,8]", 8), "does not know"},
      {"DeepArrays", file_of(deep, 0), "does not know"},
      {"DeepObjects", file_of(deep_objects, 0), "does not know"},
      {"OffsetsNotAPair", one("F32", "[2]", "[0,4,8]", 8), "not a pair"},
      {"OffsetsBackwards", one("F32", "[0]", "[8,0]", 8), "outside the file"},
      {"OffsetsOutside", one("F32", "[2]", "[8,16]", 8), "outside the file"},
      {"OffsetsFarOutside", one("F32", "[2]", "[18446744073709551608,18446744073709551615]", 8),
       "outside the file"},
      {"SizeDiffersFromShape", one("F32", "[3]", "[0,8]", 8), "needs 12 bytes, not 8"},
      {"Overlap", file_of("{" + a + "," + tensor("b", "F32", "[2]", "[4,12]") + "}", 12),
       "overlap"},
      {"SamePlace", file_of("{" + a + "," + tensor("b", "F32", "[2]", "[0,8]") + "}", 8),
       "overlap"},
      {"Hole", file_of("{" + a + "," + tensor("b", "F32", "[2]", "[12,20]") + "}", 20), "hole"},
      {"UnusedEnd", file_of("{" + a + "}", 9), "1 bytes at the end"},
  };
}

class BadSafetensors : public ::testing::TestWithParam<BadFile> {};

}  // namespace

TEST_P(BadSafetensors, IsOneClearLine) {
  try {
    parse(GetParam().content);
    FAIL() << "the file was accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(GetParam().complaint), std::string::npos) << message;
    EXPECT_NE(message.find("model.safetensors"), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 300u);
  }
}

INSTANTIATE_TEST_SUITE_P(Safetensors, BadSafetensors, ::testing::ValuesIn(bad_files()),
                         [](const auto& suite) { return std::string(suite.param.name); });

TEST(Safetensors, ReadsWhatOtherToolsWrite) {
  const std::string header =
      "{\"__metadata__\":{\"format\":\"pt\"}," + tensor("b", "F32", "[1,2]", "[2,10]") + "," +
      tensor("s", "F16", "[]", "[0,2]") + "," + tensor("none", "I64", "[0,3]", "[10,10]") + "}   ";
  std::string file = file_of(header, 10);
  const float values[2] = {1.5f, -2};
  std::memcpy(file.data() + 8 + header.size() + 2, values, sizeof values);  // unaligned
  const SafetensorsContent content = parse(file);
  EXPECT_EQ(content.metadata.at("format"), "pt");
  ASSERT_EQ(content.tensors.size(), 3u);
  EXPECT_EQ(content.tensors.at("b").shape, (TensorShape{1, 2}));
  EXPECT_EQ(to_floats(content.tensors.at("b"), "f", "b"), (std::vector<float>{1.5f, -2}));
  EXPECT_TRUE(content.tensors.at("s").shape.empty());
  EXPECT_EQ(elements(content.tensors.at("s").shape), 1);
  EXPECT_TRUE(content.tensors.at("none").data.empty());
}

TEST(Safetensors, EmptyFileOfTheFormatIsValid) {
  EXPECT_TRUE(parse(file_of("{}", 0)).tensors.empty());
  EXPECT_TRUE(parse(file_of("{ }  ", 0)).tensors.empty());
}

TEST(Safetensors, WritesWhatItReads) {
  TemporaryFolder folder;
  const auto path = folder / "m.safetensors";
  const std::vector<float> weights{1, 2, 3, 4, 5, 6};
  const std::vector<uint8_t> bytes{7, 8, 9};
  const std::vector<double> wide{0.5};
  const std::map<std::string, StoredTensor> tensors{
      {"layer.weight", stored(StoredType::f32, {2, 3}, weights)},
      {"a \"quoted\" näme", stored(StoredType::u8, {3}, bytes)},
      {"scalar", stored(StoredType::f64, {}, wide)},
      {"nothing", stored(StoredType::f32, {0}, std::vector<float>{})}};
  write_safetensors(path, tensors, {{"key", "line\nbreak"}});
  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("key"), "line\nbreak");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const StoredTensor& read = file.tensors().at(name);
    EXPECT_EQ(read.type, tensor.type) << name;
    EXPECT_EQ(read.shape, tensor.shape) << name;
    EXPECT_TRUE(std::ranges::equal(read.data, tensor.data)) << name;
    EXPECT_EQ(std::bit_cast<uintptr_t>(read.data.data()) % size_of(read.type), 0u) << name;
  }
  // The mapping begins at a page, so the widest tensor, which comes first, shows the alignment.
  EXPECT_EQ(std::bit_cast<uintptr_t>(file.tensors().at("scalar").data.data()) % 64, 0u);
}

TEST(Safetensors, SameContentGivesTheSameBytes) {
  TemporaryFolder folder;
  const std::vector<float> x{1, 2}, y{3};
  const std::map<std::string, StoredTensor> tensors{{"x", stored(StoredType::f32, {2}, x)},
                                                    {"y", stored(StoredType::f32, {1}, y)}};
  write_safetensors(folder / "1", tensors, {{"b", "2"}, {"a", "1"}});
  write_safetensors(folder / "2", tensors, {{"a", "1"}, {"b", "2"}});
  const std::string first = read_file(folder / "1", 1 << 20);
  EXPECT_EQ(first, read_file(folder / "2", 1 << 20));
  EXPECT_EQ(first.size() % 64, 12u);  // header and length fill whole lines, then 12 bytes of data
}

TEST(Safetensors, WriterRefusesWhatIsNotUtf8) {
  TemporaryFolder folder;
  const std::vector<float> x{1};
  EXPECT_THROW(write_safetensors(folder / "m", {{"\xff", stored(StoredType::f32, {1}, x)}}, {}),
               InputError);
  EXPECT_THROW(write_safetensors(folder / "m", {}, {{"k", "\xff"}}), InputError);
  EXPECT_THROW(write_safetensors(folder / "m", {{"x", stored(StoredType::f32, {2}, x)}}, {}),
               std::logic_error);
  EXPECT_TRUE(folder.entries().empty());
}

TEST(Safetensors, ConvertsToFloats) {
  const auto floats = [](const StoredTensor& t) { return to_floats(t, "f", "t"); };
  const std::vector<uint16_t> halves{0x3c00, 0xc000, 0x0001};  // 1, -2, 2^-24
  const std::vector<uint16_t> brains{0x3f80, 0xc000};          // 1, -2
  EXPECT_EQ(floats(stored(StoredType::f16, {3}, halves)),
            (std::vector<float>{1, -2, 5.9604644775390625e-08f}));
  EXPECT_EQ(floats(stored(StoredType::bf16, {2}, brains)), (std::vector<float>{1, -2}));
  EXPECT_EQ(floats(stored(StoredType::f64, {1}, std::vector<double>{0.1})),
            (std::vector<float>{0.1f}));
  EXPECT_EQ(floats(stored(StoredType::i64, {2}, std::vector<int64_t>{-3, 12})),
            (std::vector<float>{-3, 12}));
  EXPECT_THROW(floats(stored(StoredType::boolean, {1}, std::vector<uint8_t>{1})), InputError);
}
