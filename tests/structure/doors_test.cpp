// The structure that the rooms promise: doors open downwards only, vendor headers stay in their
// file, and no includes go in a circle.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/paths.h"

namespace {

namespace fs = std::filesystem;

/// Which rooms and wings, as beginnings of paths, a room may include besides itself.
const std::map<std::string, std::vector<std::string>> kDoors{
    {"base", {}},
    {"image", {"base/"}},
    {"synth", {"image/", "base/", "kernels/scalar/"}},
    {"kernels", {"base/"}},
    {"engine", {"kernels/", "base/"}},
    {"models", {"engine/", "kernels/", "base/"}},
    {"loader", {"engine/", "kernels/", "image/", "base/"}},
    {"report", {"loader/", "engine/", "kernels/", "image/", "base/"}},
    {"run", {"models/", "loader/", "report/", "engine/", "kernels/", "image/", "base/"}},
    {"server", {"run/", "models/", "loader/", "report/", "engine/", "kernels/", "image/", "base/"}},
    {"app",
     {"server/", "run/", "models/", "loader/", "report/", "synth/", "engine/", "kernels/", "image/",
      "base/"}},
    {"bench",
     {"app/", "run/", "models/", "loader/", "synth/", "engine/", "kernels/", "image/", "base/"}},
};

/// Which wings of the engine a wing may include besides itself.
const std::map<std::string, std::vector<std::string>> kWings{
    {"engine/graph/", {}},
    {"engine/model/", {}},
    {"engine/plan/", {"engine/graph/", "engine/model/"}},
    {"engine/input/", {"engine/plan/"}},
    {"engine/infer/", {"engine/input/", "engine/plan/", "engine/graph/", "engine/model/"}},
    {"engine/train/",
     {"engine/infer/", "engine/input/", "engine/plan/", "engine/graph/", "engine/model/"}},
};

/// Where a vendor's header may be included: files whose path begins so.
const std::map<std::string, std::vector<std::string>> kVendorHeaders{
    {"oneapi/dnnl/", {"kernels/cpu/onednn_conv.cpp"}},
    {"cudnn", {"kernels/cuda/cudnn/descriptor.h"}},
    {"cuda", {"kernels/cuda/", "bench/cuda_"}},
    {"stb/", {"image/stb.cpp", "bench/decode.cpp"}},
    {"stb_image", {"image/stb.cpp"}},
    {"jpeglib", {"image/jpeg.cpp", "image/jpeg_writer.cpp"}},
    {"libdeflate", {"image/deflate.cpp"}},
    {"toml++/", {"base/toml.cpp", "loader/dataset_file.cpp"}},
    {"CLI/", {"app/command_line.cpp", "bench/"}},
    {"boost/asio", {"server/http/http_server.cpp"}},
    {"boost/beast", {"server/http/request_parser.cpp"}},
    {"curl/", {"base/http_client.cpp"}},
    {"hdf5", {"models/weights/hdf5_reader.cpp"}},
    {"nlohmann/",
     {"base/", "engine/infer/metrics.", "engine/model/", "engine/train/run_log.", "run/", "server/",
      "app/", "bench/", "models/onnx_export.cpp"}},
    {"onnx/", {"models/onnx/serialize.cpp"}},
    {"google/protobuf/", {"models/onnx/serialize.cpp"}},
};

/// Headers that show a vendor's types, and who may include them.
const std::map<std::string, std::set<std::string>> kPrivateHeaders{
    {"kernels/cuda/cudnn/descriptor.h",
     {"kernels/cuda/cudnn/graph.cpp", "kernels/cuda/cudnn/operations.h"}},
    {"kernels/cuda/cudnn/operations.h",
     {"kernels/cuda/cudnn/graph.cpp", "kernels/cuda/cudnn/operations.cpp"}},
};

/// The doors upwards: files that include one of the tests. The emulator compiles kernels for the
/// host.
const std::map<std::string, std::string> kDoorsUp{
    {"kernels/cuda/launch.cuh", "block_emulator.h"},
};

struct Include {
  std::string path;
  bool system = false;
};

std::vector<Include> includes_of(const fs::path& file) {
  std::vector<Include> includes;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    const size_t start = line.find_first_not_of(" \t");
    if (start == std::string::npos || line.compare(start, 8, "#include") != 0) continue;
    const size_t open = line.find_first_of("<\"", start);
    const size_t close = line.find_first_of(">\"", open + 1);
    if (close != std::string::npos) {
      includes.push_back({line.substr(open + 1, close - open - 1), line[open] == '<'});
    }
  }
  return includes;
}

/// Every source file of the rooms, as a path relative to the root, with its includes.
const std::map<std::string, std::vector<Include>>& sources() {
  static const auto all = [] {
    std::map<std::string, std::vector<Include>> files;
    const fs::path root = macadam::source_path(".");
    for (const auto& [room, doors] : kDoors) {
      if (!fs::exists(root / room)) continue;
      for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
        const std::string extension = entry.path().extension().string();
        if (extension == ".h" || extension == ".cpp" || extension == ".cu" || extension == ".cuh") {
          files[fs::relative(entry.path(), root).string()] = includes_of(entry.path());
        }
      }
    }
    return files;
  }();
  return all;
}

std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

bool begins_with_any(const std::string& path, const std::vector<std::string>& beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [&](const std::string& b) { return path.rfind(b, 0) == 0; });
}

TEST(Doors, OpenDownwardsOnly) {
  ASSERT_GT(sources().size(), 300u);
  for (const auto& [file, includes] : sources()) {
    const std::string room = room_of(file);
    for (const Include& include : includes) {
      const std::string other = room_of(include.path);
      if (include.system || other == room || kDoors.count(other) == 0) continue;
      EXPECT_TRUE(begins_with_any(include.path, kDoors.at(room)))
          << file << " includes " << include.path;
    }
  }
}

TEST(Doors, LeadToFilesOfTheRooms) {
  std::set<std::string> used;
  for (const auto& [file, includes] : sources()) {
    for (const Include& include : includes) {
      if (include.system || sources().count(include.path) > 0) continue;
      const auto up = kDoorsUp.find(file);
      EXPECT_TRUE(up != kDoorsUp.end() && up->second == include.path)
          << file << " includes " << include.path;
      used.insert(file);
    }
  }
  EXPECT_EQ(used.size(), kDoorsUp.size()) << "a door upwards that nobody uses";
}

/// Tests of a room may include other tests, that room, and what it may include itself: those of
/// whole programs see all rooms.
TEST(Doors, OfTestsAreThoseOfTheirRooms) {
  const fs::path tests = macadam::source_path("tests");
  const std::map<std::string, std::set<std::string>> more{
      {"image", {"synth"}}, {"loader", {"synth"}}, {"synth", {"loader"}}, {"run", {"synth"}}};
  size_t checked = 0;
  for (const auto& [room, doors] : kDoors) {
    if (!fs::exists(tests / room) || room == "app" || room == "bench") continue;
    for (const auto& entry : fs::recursive_directory_iterator(tests / room)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp") continue;
      for (const Include& include : includes_of(entry.path())) {
        const std::string other = room_of(include.path);
        if (include.system || other == room || kDoors.count(other) == 0) continue;
        const auto extra = more.find(room);
        const bool allowed = begins_with_any(include.path, doors) ||
                             (extra != more.end() && extra->second.count(other) > 0);
        EXPECT_TRUE(allowed) << entry.path() << " includes " << include.path;
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 100u);
}

TEST(Doors, BetweenTheEnginesWingsOpenOneWay) {
  for (const auto& [file, includes] : sources()) {
    if (room_of(file) != "engine") continue;
    const auto holds = [&path = file](const auto& wing) { return path.starts_with(wing.first); };
    const auto wing = std::find_if(kWings.begin(), kWings.end(), holds);
    ASSERT_NE(wing, kWings.end()) << file << " is in no wing";
    for (const Include& include : includes) {
      if (room_of(include.path) != "engine" || include.path.rfind(wing->first, 0) == 0) continue;
      EXPECT_TRUE(begins_with_any(include.path, wing->second))
          << file << " includes " << include.path;
    }
  }
}

TEST(Doors, VendorHeadersStayInTheirFile) {
  for (const auto& [file, includes] : sources()) {
    for (const Include& include : includes) {
      if (!include.system) continue;
      for (const auto& [prefix, homes] : kVendorHeaders) {
        if (include.path.rfind(prefix, 0) != 0) continue;
        EXPECT_TRUE(begins_with_any(file, homes)) << file << " includes <" << include.path << ">";
      }
    }
  }
}

TEST(Doors, HeadersWithVendorTypesStayPrivate) {
  for (const auto& [header, readers] : kPrivateHeaders) {
    EXPECT_TRUE(sources().count(header)) << header;
    for (const auto& [file, includes] : sources()) {
      for (const Include& include : includes) {
        if (include.path != header) continue;
        EXPECT_TRUE(readers.count(file)) << file << " includes " << header;
      }
    }
  }
}

/// Whether `line`, its comment apart, holds `word` other than as the end of a longer name.
bool says(const std::string& line, const std::string& word) {
  const std::string code = line.substr(0, line.find("//"));
  for (size_t at = code.find(word); at != std::string::npos; at = code.find(word, at + 1)) {
    const char before = at == 0 ? ' ' : code[at - 1];
    if (word[0] == '.' ||
        (std::isalnum(static_cast<unsigned char>(before)) == 0 && before != '_')) {
      return true;
    }
  }
  return false;
}

/// Expects that no line of the program's code holds one of `words` but in the file `home`.
void expect_only_in(const std::string& home, const std::vector<std::string>& words) {
  bool used_at_home = false;
  for (const auto& [file, includes] : sources()) {
    if (room_of(file) == "bench") continue;  // programs of their own
    std::ifstream stream(macadam::source_path(file));
    for (std::string line; std::getline(stream, line);) {
      if (says(line, "dup2(")) continue;  // a child's stream led elsewhere says nothing
      for (const std::string& word : words) {
        if (!says(line, word)) continue;
        EXPECT_EQ(file, home) << line;
        used_at_home = true;
      }
    }
  }
  EXPECT_TRUE(used_at_home) << home;
}

// Text from outside is escaped there.
TEST(Doors, OnlyTheConsoleWritesToTheTerminal) {
  expect_only_in("app/console.cpp",
                 {"fmt::print", "printf(", "fprintf(", "vprintf(", "vfprintf(", "dprintf(", "puts(",
                  "fputs(", "putchar(", "fputc(", "fwrite(", "perror(", "std::cout", "std::cerr",
                  "std::clog", "STDOUT_FILENO", "STDERR_FILENO"});
}

// It replaces or refuses what is not UTF-8, where the library would throw an exception of its own.
TEST(Doors, OneFileWritesJson) { expect_only_in("base/json_text.cpp", {".dump("}); }

TEST(Doors, TheReferenceIsForTestsOnly) {
  for (const auto& [file, includes] : sources()) {
    if (file.rfind("kernels/reference/", 0) == 0) continue;
    for (const Include& include : includes) {
      EXPECT_NE(include.path.rfind("kernels/reference/", 0), 0u) << file;
    }
  }
}

TEST(Doors, IncludesDoNotGoInACircle) {
  std::map<std::string, int> state;  // 1: being visited, 2: done
  std::function<void(const std::string&)> visit = [&](const std::string& file) {
    state[file] = 1;
    for (const Include& include : sources().at(file)) {
      if (include.system || sources().count(include.path) == 0) continue;
      EXPECT_NE(state[include.path], 1) << file << " closes a circle with " << include.path;
      if (state[include.path] == 0) visit(include.path);
    }
    state[file] = 2;
  };
  for (const auto& [file, includes] : sources()) {
    if (state[file] == 0) visit(file);
  }
}

}  // namespace
