#include "loader/dataset_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <span>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/rgb.h"
#include "base/text.h"
#include "kernels/classes.h"

namespace macadam {

namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 20;
/// Void may become one more.
constexpr size_t kMostOwnClasses = kMaxClasses - 1;

/// Colours for classes that name none: the customary ones of driving scenes, then repeated.
constexpr std::array<Rgb, 16> kDefaultColors{{{128, 64, 128},
                                              {70, 70, 70},
                                              {107, 142, 35},
                                              {70, 130, 180},
                                              {220, 20, 60},
                                              {0, 0, 142},
                                              {220, 220, 0},
                                              {244, 35, 232},
                                              {190, 153, 153},
                                              {119, 11, 32},
                                              {250, 170, 30},
                                              {152, 251, 152},
                                              {0, 60, 100},
                                              {102, 102, 156},
                                              {255, 0, 0},
                                              {153, 153, 153}}};

/// Reads one TOML file and words its errors.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : file_(file) {}

  [[noreturn]] void fail(const toml::node& node, std::string_view what,
                         std::string_view remedy) const {
    throw InputError(what, fmt::format("{}, line {}", file_.string(), node.source().begin.line),
                     remedy);
  }

  void check_keys(const toml::table& table, std::span<const std::string> keys) const {
    for (const auto& [key, node] : table) {
      if (std::find(keys.begin(), keys.end(), key.str()) != keys.end()) continue;
      fail(node, fmt::format("unknown key \"{}\"", key.str()),
           fmt::format("did you mean \"{}\"?", nearest(key.str(), keys)));
    }
  }

  const toml::table& table(const toml::node& node, std::string_view key) const {
    if (!node.is_table()) fail(node, fmt::format("\"{}\" must be a table", key), "see the manual");
    return *node.as_table();
  }

  std::string text(const toml::node& node, std::string_view key) const {
    const auto value = node.value_exact<std::string>();
    if (!value || value->empty()) fail(node, fmt::format("\"{}\" must be a text", key), "quote it");
    return *value;
  }

  /// Integers from 0 to 255.
  std::vector<uint8_t> bytes(const toml::node& node, std::string_view key) const {
    std::vector<uint8_t> values;
    const toml::array* array = node.as_array();
    if (array) {
      for (const toml::node& element : *array) {
        const auto value = element.value_exact<int64_t>();
        if (!value || *value < 0 || *value > 255) {
          fail(element,
               fmt::format("\"{}\" holds a value that is not an integer from 0 to 255", key),
               "masks hold 8-bit ids");
        }
        values.push_back(static_cast<uint8_t>(*value));
      }
    } else {
      fail(node, fmt::format("\"{}\" must be a list of integers", key), "write it as [1, 2]");
    }
    return values;
  }

  Rgb color(const toml::node& node, std::string_view key) const {
    const std::vector<uint8_t> values = bytes(node, key);
    if (values.size() != 3) {
      fail(node, fmt::format("\"{}\" must be [red, green, blue]", key), "correct it");
    }
    return {values[0], values[1], values[2]};
  }

 private:
  const std::filesystem::path& file_;
};

DatasetFile::Class read_class(const Reader& reader, const toml::node& node, size_t position) {
  static const std::vector<std::string> kKeys{"name", "ids", "color"};
  const toml::table& table = reader.table(node, "classes");
  reader.check_keys(table, kKeys);
  DatasetFile::Class result;
  const toml::node* name = table.get("name");
  if (!name) reader.fail(table, "a class has no name", "add name = \"…\"");
  result.name = reader.text(*name, "name");
  if (const toml::node* ids = table.get("ids")) {
    result.ids = reader.bytes(*ids, "ids");
    if (result.ids.empty()) reader.fail(*ids, "\"ids\" is empty", "give at least one id");
  } else {
    result.ids = {static_cast<uint8_t>(position)};
  }
  result.color = kDefaultColors[position % kDefaultColors.size()];
  if (const toml::node* color = table.get("color")) result.color = reader.color(*color, "color");
  return result;
}

MaskFormat read_mask_format(const Reader& reader, const toml::node& node) {
  const std::string format = reader.text(node, "mask_format");
  if (format == "ids") return MaskFormat::ids;
  if (format == "indices") return MaskFormat::indices;
  if (format == "colors") return MaskFormat::colors;
  reader.fail(node, fmt::format("mask_format = \"{}\" is not known", format),
              "use \"ids\", \"indices\" or \"colors\"");
}

IdSpace read_label_ids(const Reader& reader, const toml::node& node) {
  const std::string ids = reader.text(node, "label_ids");
  if (ids == "cityscapes") return IdSpace::cityscapes;
  if (ids == "camvid") return IdSpace::camvid;
  reader.fail(node, fmt::format("label_ids = \"{}\" is not known", ids),
              "use \"cityscapes\" or \"camvid\", or list the classes");
}

/// Which colour of a mask stands for which id: a class's for its first one, those of ignore_colors
/// for the first ignored one.
void read_mask_colors(const Reader& reader, const toml::table& root, DatasetFile& result) {
  const auto add = [&](const toml::node& node, Rgb color, uint8_t id) {
    for (const auto& known : result.masks.colors) {
      if (known.color != color) continue;
      reader.fail(node,
                  fmt::format("colour [{}, {}, {}] is given twice", color[0], color[1], color[2]),
                  "with mask_format = \"colors\" every colour stands for one class");
    }
    result.masks.colors.push_back({color, id});
  };
  const toml::array& classes = *root.get("classes")->as_array();
  for (size_t c = 0; c < result.classes.size(); ++c) {
    const toml::table& table = *classes[c].as_table();
    if (!table.contains("color")) {
      reader.fail(table, fmt::format("class \"{}\" has no color", result.classes[c].name),
                  "mask_format = \"colors\" needs one of every class");
    }
    add(*table.get("color"), result.classes[c].color, result.classes[c].ids.front());
  }
  if (const toml::node* ignored = root.get("ignore_colors")) {
    const toml::array* array = ignored->as_array();
    if (!array) reader.fail(*ignored, "\"ignore_colors\" must be a list", "write [[0, 0, 0]]");
    if (result.ignore.empty()) {
      reader.fail(*ignored, "\"ignore_colors\" needs an ignored id", "list one in ignore");
    }
    for (const toml::node& color : *array) {
      add(color, reader.color(color, "ignore_colors"), result.ignore.front());
    }
  }
}

void read_splits(const Reader& reader, const toml::table& table,
                 const std::filesystem::path& folder, DatasetFile& result) {
  static const std::vector<std::string> kKeys{"images", "masks", "list"};
  for (const auto& [split, node] : table) {
    const toml::table& folders = reader.table(node, split.str());
    reader.check_keys(folders, kKeys);
    for (const char* key : {"images", "masks"}) {
      if (folders.contains(key)) continue;
      reader.fail(node, fmt::format("split \"{}\" has no \"{}\"", split.str(), key),
                  "name the folder");
    }
    DatasetFile::Folders found{folder / reader.text(*folders.get("images"), "images"),
                               folder / reader.text(*folders.get("masks"), "masks"),
                               {}};
    if (const toml::node* list = folders.get("list")) {
      found.list = folder / reader.text(*list, "list");
    }
    for (const auto& [name, other] : result.splits) {
      if (found.list != other.list || std::filesystem::weakly_canonical(found.images) !=
                                          std::filesystem::weakly_canonical(other.images)) {
        continue;
      }
      reader.fail(node,
                  fmt::format("splits \"{}\" and \"{}\" have the same photos", name, split.str()),
                  "give each its own folder, or a list");
    }
    result.splits[std::string(split.str())] = std::move(found);
  }
}

/// Every id has one meaning.
void check_ids(const DatasetFile& result, const std::filesystem::path& file) {
  std::set<uint8_t> seen;
  const auto add = [&](uint8_t id, std::string_view where) {
    if (seen.insert(id).second) return;
    throw InputError(fmt::format("id {} is given twice, the second time in {}", id, where),
                     file.string(), "give every id to one class, or to ignore");
  };
  for (const auto& entry : result.classes) {
    for (const uint8_t id : entry.ids) add(id, fmt::format("class \"{}\"", entry.name));
  }
  for (const uint8_t id : result.ignore) add(id, "ignore");
}

}  // namespace

bool has_dataset_file(const std::filesystem::path& folder) {
  return std::filesystem::is_regular_file(folder / kDatasetFileName);
}

DatasetFile read_dataset_file(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kDatasetFileName;
  if (!has_dataset_file(folder)) {
    throw InputError("no dataset.toml", folder.string(),
                     "a custom label set needs one with the classes; see docs/datasets.md");
  }
  toml::table root;
  try {
    root = toml::parse(read_file(file, kMaxFileBytes), file.string());
  } catch (const toml::parse_error& error) {
    throw InputError(fmt::format("not valid TOML ({})", error.description()),
                     fmt::format("{}, line {}", file.string(), error.source().begin.line),
                     "correct the line");
  }

  static const std::vector<std::string> kKeys{"name",      "ignore",      "splits",       "classes",
                                              "label_ids", "mask_format", "ignore_colors"};
  const Reader reader(file);
  reader.check_keys(root, kKeys);
  DatasetFile result;
  const std::filesystem::path absolute = std::filesystem::weakly_canonical(folder);
  result.name =
      root.contains("name") ? reader.text(*root.get("name"), "name") : absolute.filename().string();
  if (const toml::node* ids = root.get("label_ids")) {
    result.ids = read_label_ids(reader, *ids);
    for (const char* key : {"classes", "ignore", "ignore_colors"}) {
      const toml::node* other = root.get(key);
      if (!other) continue;
      reader.fail(*other, fmt::format("\"{}\" beside \"label_ids\"", key),
                  "keep one: label_ids means the classes of a built-in label set");
    }
  }
  if (const toml::node* classes = root.get("classes")) {
    const toml::array* array = classes->as_array();
    if (!array) reader.fail(*classes, "\"classes\" must be a list", "write [[classes]] blocks");
    for (const toml::node& node : *array) {
      result.classes.push_back(read_class(reader, node, result.classes.size()));
    }
  }
  if (result.ids == IdSpace::own &&
      (result.classes.empty() || result.classes.size() > kMostOwnClasses)) {
    throw InputError(fmt::format("{} classes", result.classes.size()), file.string(),
                     fmt::format("give 1 to {} [[classes]] blocks", kMostOwnClasses));
  }
  if (const toml::node* ignore = root.get("ignore")) {
    result.ignore = reader.bytes(*ignore, "ignore");
  } else if (std::ranges::none_of(result.classes, [](const DatasetFile::Class& c) {
               return std::ranges::find(c.ids, kIgnore) != c.ids.end();
             })) {
    result.ignore = {kIgnore};
  }
  if (const toml::node* splits = root.get("splits")) {
    read_splits(reader, reader.table(*splits, "splits"), folder, result);
  }
  check_ids(result, file);
  if (const toml::node* format = root.get("mask_format")) {
    result.masks.format = read_mask_format(reader, *format);
  }
  if (result.masks.format == MaskFormat::colors) {
    if (result.ids != IdSpace::own) {
      reader.fail(*root.get("mask_format"), "mask_format = \"colors\" beside \"label_ids\"",
                  "list the classes with their colors instead of label_ids");
    }
    read_mask_colors(reader, root, result);
  } else if (const toml::node* ignored = root.get("ignore_colors")) {
    reader.fail(*ignored, "\"ignore_colors\" is for masks of colours",
                "set mask_format = \"colors\", or remove it");
  }
  return result;
}

}  // namespace macadam
