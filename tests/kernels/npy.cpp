#include "tests/kernels/npy.h"

#include <bit>
#include <cstdint>
#include <regex>
#include <string>

#include "base/error.h"
#include "base/to_size.h"
#include "tests/paths.h"

namespace macadam::testing {
namespace {

static_assert(std::endian::native == std::endian::little);

template <typename T>
void read_values(std::istream& file, std::vector<double>& values) {
  std::vector<T> stored(values.size());
  file.read(reinterpret_cast<char*>(stored.data()),
            static_cast<std::streamsize>(stored.size() * sizeof(T)));
  values.assign(stored.begin(), stored.end());
}

}  // namespace

NpyFile::NpyFile(const std::filesystem::path& path) : path_(path), file_(path, std::ios::binary) {
  if (!file_) throw InputError("cannot open the file", path.string(), "check the path");
}

NpyArray NpyFile::next() {
  const auto malformed = [&] {
    return InputError("not the expected array", path_.string(), "write it again with numpy.save");
  };
  char magic[8];
  uint16_t header_bytes = 0;
  file_.read(magic, sizeof magic);  // "\x93NUMPY", version 1.0
  file_.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  std::string header(header_bytes, ' ');
  file_.read(header.data(), header_bytes);
  static const std::regex pattern(
      R"(.*'descr': '([^']*)', 'fortran_order': False, 'shape': \(([0-9, ]*)\).*\n)");
  std::smatch match;
  if (!file_ || !std::regex_match(header, match, pattern)) throw malformed();

  NpyArray array;
  size_t count = 1;
  const std::string dimensions = match[2];
  static const std::regex number("[0-9]+");
  for (std::sregex_iterator it(dimensions.begin(), dimensions.end(), number), end; it != end;
       ++it) {
    array.shape.push_back(std::stoi(it->str()));
    count *= to_size(array.shape.back());
  }
  array.values.resize(count);
  if (match[1] == "<f4")
    read_values<float>(file_, array.values);
  else if (match[1] == "<i4")
    read_values<int32_t>(file_, array.values);
  else if (match[1] == "|u1")
    read_values<uint8_t>(file_, array.values);
  else
    throw malformed();
  if (!file_) throw malformed();
  return array;
}

NpyFile augment_golden(const std::string& name) {
  return NpyFile(source_path("tests/golden/augment/" + name + ".npy"));
}

}  // namespace macadam::testing
