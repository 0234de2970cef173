#include "models/weights/numpy_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "base/text.h"
#include "base/to_size.h"
#include "models/weights/byte_reader.h"

namespace macadam {

namespace {

constexpr std::string_view kSignature = "\x93NUMPY";
constexpr size_t kMaxHeader = 1 << 16;

struct TypeRow {
  std::string_view description;
  StoredType type;
};

constexpr std::array<TypeRow, 13> kTypes{{{"<f2", StoredType::f16},
                                          {"<f4", StoredType::f32},
                                          {"<f8", StoredType::f64},
                                          {"|b1", StoredType::boolean},
                                          {"|i1", StoredType::i8},
                                          {"<i2", StoredType::i16},
                                          {"<i4", StoredType::i32},
                                          {"<i8", StoredType::i64},
                                          {"|u1", StoredType::u8},
                                          {"<u2", StoredType::u16},
                                          {"<u4", StoredType::u32},
                                          {"<u8", StoredType::u64},
                                          {"<b1", StoredType::boolean}}};

struct Header {
  std::string_view description;
  bool fortran_order = false;
  TensorShape shape;
};

/// Reads the header, a Python dictionary of three known keys.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, std::string_view where) : rest_(text), where_(where) {}

  Header read() {
    Header header;
    bool description = false, order = false, shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr" && !std::exchange(description, true)) {
        if (!next_is('\'') && !next_is('"')) refuse_structured();
        header.description = string();
      } else if (key == "fortran_order" && !std::exchange(order, true)) {
        header.fortran_order = truth();
      } else if (key == "shape" && !std::exchange(shape, true)) {
        header.shape = numbers();
      } else {
        fail();
      }
      if (!next_is('}')) expect(',');
    }
    skip_space();
    if (!rest_.empty() || !description || !order || !shape) fail();
    return header;
  }

 private:
  [[noreturn]] void fail() const { damaged("the header of an .npy file is damaged", where_); }
  [[noreturn]] void refuse_structured() const {
    throw InputError("an array of records cannot be weights", where_, "save float32 arrays");
  }

  void skip_space() {
    const size_t word = rest_.find_first_not_of(" \t\r\n");
    rest_.remove_prefix(word == std::string_view::npos ? rest_.size() : word);
  }
  bool next_is(char wanted) {
    skip_space();
    return rest_.starts_with(wanted);
  }
  bool accept(char wanted) {
    if (!next_is(wanted)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) fail();
  }
  std::string_view string() {
    const char mark = next_is('"') ? '"' : '\'';
    expect(mark);
    const size_t end = rest_.find(mark);
    if (end == std::string_view::npos) fail();
    const auto text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }
  bool truth() {
    skip_space();
    for (const auto& [word, value] : {std::pair("True", true), std::pair("False", false)}) {
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(std::string_view(word).size());
      return value;
    }
    fail();
  }
  TensorShape numbers() {
    TensorShape values;
    expect('(');
    while (!accept(')')) {
      skip_space();
      int64_t value = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
      if (error != std::errc() || value < 0) fail();
      rest_.remove_prefix(to_size(end - rest_.data()));
      accept('L');  // Python 2 wrote long integers so
      values.push_back(value);
      if (!next_is(')')) expect(',');
    }
    return values;
  }

  std::string_view rest_, where_;
};

StoredType type_of(std::string_view description, std::string_view where) {
  const auto row = std::ranges::find(kTypes, description, &TypeRow::description);
  if (row != kTypes.end()) return row->type;
  throw InputError(fmt::format("an array of type {} cannot be weights", quote(description, 20)),
                   where, "save it as array.astype('<f4')");
}

/// Strides of an array whose first index runs fastest.
std::vector<int64_t> fortran_strides(const TensorShape& shape) {
  const std::vector<int64_t> reversed =
      contiguous_strides(TensorShape(shape.rbegin(), shape.rend()));
  return {reversed.rbegin(), reversed.rend()};
}

}  // namespace

bool is_npy(std::span<const std::byte> bytes) { return text_of(bytes).starts_with(kSignature); }

StoredArray read_npy(std::span<const std::byte> bytes, std::string_view where) {
  ByteReader reader(bytes, where, "the header of an .npy file");
  if (text_of(reader.take(kSignature.size())) != kSignature) {
    throw InputError("not an .npy file", where, "save the array with numpy.save");
  }
  const auto version = reader.number<uint8_t>();
  reader.take(1);  // minor version
  if (version < 1 || version > 3) damaged("an unknown version of the .npy format", where);
  const size_t size = version == 1 ? reader.number<uint16_t>() : reader.number<uint32_t>();
  if (size > kMaxHeader) damaged("the header of an .npy file is too long", where);
  const Header header = HeaderReader(text_of(reader.take(size)), where).read();
  const StoredType type = type_of(header.description, where);
  const auto strides =
      header.fortran_order ? fortran_strides(header.shape) : contiguous_strides(header.shape);
  const auto data = bytes.subspan(reader.position());
  StoredArray array = stored_array(type, header.shape, strides, 0, data, where);
  if (array.bytes.size() != data.size()) {
    damaged(fmt::format("an .npy file has {} bytes more than its shape {} needs",
                        data.size() - array.bytes.size(), text_of(header.shape)),
            where);
  }
  return array;
}

}  // namespace macadam
