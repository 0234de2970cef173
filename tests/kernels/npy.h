#pragma once
// Reads files of arrays as numpy.save writes them, one after the other.

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace macadam::testing {

struct NpyArray {
  std::vector<int> shape;
  std::vector<double> values;  // row-major
};

/// The arrays of one file, in order: little-endian float32, int32 and uint8 in C order.
class NpyFile {
 public:
  /// Throws InputError when the file cannot be opened.
  explicit NpyFile(const std::filesystem::path& path);

  /// The next array. Throws InputError at the end of the file and for other formats.
  NpyArray next();

 private:
  std::filesystem::path path_;
  std::ifstream file_;
};

/// tests/golden/augment/NAME.npy.
NpyFile augment_golden(const std::string& name);

}  // namespace macadam::testing
