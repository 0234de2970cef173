#include "loader/label_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/rgb.h"
#include "base/text.h"
#include "base/to_size.h"
#include "image/resize.h"
#include "loader/dataset.h"
#include "loader/dataset_file.h"
#include "loader/pack.h"
#include "loader/split_file.h"

namespace macadam {

namespace {

/// A class before the void policy is applied.
struct ClassRow {
  std::string_view name;
  Rgb color;
  uint8_t file_id;
};

// Cityscapes, of cityscapesScripts helpers/labels.py. A category is written as the id of a class
// that the official evaluation does not ignore, or it would count as wrong.
constexpr std::array<ClassRow, 8> kCategories{{{"void", {0, 0, 0}, 0},
                                               {"flat", {128, 64, 128}, 7},
                                               {"construction", {70, 70, 70}, 11},
                                               {"object", {153, 153, 153}, 17},
                                               {"nature", {107, 142, 35}, 21},
                                               {"sky", {70, 130, 180}, 23},
                                               {"human", {220, 20, 60}, 24},
                                               {"vehicle", {0, 0, 142}, 26}}};

constexpr std::array<uint8_t, 34> kCategoryOfId{0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2,
                                                3, 3, 3, 3, 4, 4, 5, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7};

constexpr std::array<ClassRow, 19> kTrainIds{{{"road", {128, 64, 128}, 7},
                                              {"sidewalk", {244, 35, 232}, 8},
                                              {"building", {70, 70, 70}, 11},
                                              {"wall", {102, 102, 156}, 12},
                                              {"fence", {190, 153, 153}, 13},
                                              {"pole", {153, 153, 153}, 17},
                                              {"traffic light", {250, 170, 30}, 19},
                                              {"traffic sign", {220, 220, 0}, 20},
                                              {"vegetation", {107, 142, 35}, 21},
                                              {"terrain", {152, 251, 152}, 22},
                                              {"sky", {70, 130, 180}, 23},
                                              {"person", {220, 20, 60}, 24},
                                              {"rider", {255, 0, 0}, 25},
                                              {"car", {0, 0, 142}, 26},
                                              {"truck", {0, 0, 70}, 27},
                                              {"bus", {0, 60, 100}, 28},
                                              {"train", {0, 80, 100}, 31},
                                              {"motorcycle", {0, 0, 230}, 32},
                                              {"bicycle", {119, 11, 32}, 33}}};

// CamVid's 11 classes in the order and colours of SegNet.
constexpr std::array<ClassRow, 11> kCamVid{{{"sky", {128, 128, 128}, 0},
                                            {"building", {128, 0, 0}, 1},
                                            {"pole", {192, 192, 128}, 2},
                                            {"road", {128, 64, 128}, 3},
                                            {"pavement", {60, 40, 222}, 4},
                                            {"tree", {128, 128, 0}, 5},
                                            {"sign_symbol", {192, 128, 128}, 6},
                                            {"fence", {64, 64, 128}, 7},
                                            {"car", {64, 0, 128}, 8},
                                            {"pedestrian", {64, 64, 0}, 9},
                                            {"bicyclist", {0, 128, 192}, 10}}};
constexpr uint8_t kCamVidVoid = 11;

/// Adds a class and returns its label.
uint8_t add_class(LabelSet& set, std::string_view name, Rgb color, uint8_t file_id) {
  set.class_names.emplace_back(name);
  set.palette.push_back(color);
  set.file_ids.push_back(file_id);
  return static_cast<uint8_t>(set.class_names.size() - 1);
}

void map_id(LabelSet& set, uint8_t id, uint8_t label) {
  set.label_of_id[id] = label;
  set.known_id[id] = true;
}

LabelSet categories8(bool void_is_class) {
  LabelSet set;
  const size_t first = void_is_class ? 0 : 1;
  for (size_t c = first; c < kCategories.size(); ++c) {
    add_class(set, kCategories[c].name, kCategories[c].color, kCategories[c].file_id);
  }
  for (size_t id = 0; id < kCategoryOfId.size(); ++id) {
    const bool ignored = kCategoryOfId[id] < first;
    map_id(set, static_cast<uint8_t>(id),
           ignored ? kIgnore : static_cast<uint8_t>(kCategoryOfId[id] - first));
  }
  return set;
}

LabelSet trainids19(bool void_is_class) {
  LabelSet set;
  for (const ClassRow& row : kTrainIds) add_class(set, row.name, row.color, row.file_id);
  const uint8_t rest = void_is_class ? add_class(set, "void", {0, 0, 0}, 0) : kIgnore;
  for (size_t id = 0; id < kCategoryOfId.size(); ++id) map_id(set, static_cast<uint8_t>(id), rest);
  for (size_t c = 0; c < kTrainIds.size(); ++c) {
    map_id(set, kTrainIds[c].file_id, static_cast<uint8_t>(c));
  }
  return set;
}

LabelSet camvid11(bool void_is_class) {
  LabelSet set;
  for (const ClassRow& row : kCamVid) {
    map_id(set, row.file_id, add_class(set, row.name, row.color, row.file_id));
  }
  map_id(set, kCamVidVoid,
         void_is_class ? add_class(set, "void", {0, 0, 0}, kCamVidVoid) : kIgnore);
  return set;
}

LabelSet custom(bool void_is_class, const std::filesystem::path& folder) {
  const DatasetFile file = read_dataset_file(folder);
  LabelSet set;
  for (const auto& entry : file.classes) {
    const uint8_t label = add_class(set, entry.name, entry.color, entry.ids.front());
    for (const uint8_t id : entry.ids) map_id(set, id, label);
  }
  uint8_t rest = kIgnore;
  if (void_is_class) {
    if (file.ignore.empty()) {
      throw InputError("void = \"class\", but no id is void", (folder / kDatasetFileName).string(),
                       "list the void ids in ignore");
    }
    rest = add_class(set, "void", {0, 0, 0}, file.ignore.front());
  }
  for (const uint8_t id : file.ignore) map_id(set, id, rest);
  return set;
}

void check_name(std::string_view name) {
  const auto names = label_set_names();
  if (std::ranges::find(names, name) != names.end()) return;
  throw InputError(
      fmt::format("label set \"{}\" is not known", name), "",
      fmt::format("did you mean \"{}\"? There are {}", nearest(name, names), joined(names)));
}

/// A label set gives other ids another meaning than they have; only who knows both may map them.
/// `owner`: whose label set it is, where it is not for the user to choose.
void check_ids(std::string_view name, IdSpace ids, const std::filesystem::path& root,
               std::string_view owner = {}) {
  if (ids_of(name) == ids) return;
  std::string remedy = fmt::format("use {}", default_label_set(ids));
  if (!owner.empty()) {
    remedy = fmt::format(
        "map them on purpose: a {} that lists the classes of {}, in their order, "
        "with the ids of these masks (docs/datasets.md)",
        kDatasetFileName, owner);
  } else if (ids == IdSpace::own) {
    remedy += fmt::format(", or, if they are {}, write label_ids in place of classes in {}",
                          name_of(ids_of(name)), kDatasetFileName);
  } else {
    remedy += fmt::format(
        ", or map them on purpose: a {} that lists classes with the ids of these "
        "masks, read with custom (docs/datasets.md)",
        kDatasetFileName);
  }
  throw InputError(fmt::format("label set {}{} is for {}, but the masks hold {}", name,
                               owner.empty() ? "" : fmt::format(" of {}", owner),
                               name_of(ids_of(name)), name_of(ids)),
                   root.string(), remedy);
}

/// Says where the classes of `found` are not those of `wanted`.
void check_classes(const LabelSet& found, const ClassList& wanted,
                   const std::filesystem::path& root) {
  const auto& here = found.class_names;
  const auto differ = std::ranges::mismatch(here, wanted.names);
  if (differ.in1 == here.end() && differ.in2 == wanted.names.end()) return;
  const std::string what =
      here.size() != wanted.names.size()
          ? fmt::format("{} classes, but {} has {}", here.size(), wanted.owner, wanted.names.size())
          : fmt::format("class {} is \"{}\", but \"{}\" in {}", differ.in1 - here.begin(),
                        *differ.in1, *differ.in2, wanted.owner);
  throw InputError(what, root.string(),
                   "give it the same classes in the same order; their ids may differ");
}

}  // namespace

std::string_view name_of(IdSpace ids) {
  switch (ids) {
    case IdSpace::own: return "ids of its dataset.toml";
    case IdSpace::cityscapes: return "Cityscapes ids";
    case IdSpace::camvid: return "CamVid ids";
  }
  return "";
}

IdSpace ids_of(std::string_view name) {
  if (name == "categories8" || name == "trainids19") return IdSpace::cityscapes;
  return name == "camvid11" ? IdSpace::camvid : IdSpace::own;
}

std::string_view default_label_set(IdSpace ids) {
  switch (ids) {
    case IdSpace::own: return "custom";
    case IdSpace::cityscapes: return "categories8";
    case IdSpace::camvid: return "camvid11";
  }
  return "";
}

VoidPolicy parse_void_policy(std::string_view text) {
  if (text == "auto") return VoidPolicy::standard;
  if (text == "ignore") return VoidPolicy::ignore;
  if (text == "class") return VoidPolicy::as_class;
  throw InputError(fmt::format("void = \"{}\" is not known", text), "",
                   "use \"ignore\", \"class\" or \"auto\"");
}

std::span<const std::string> label_set_names() {
  static const std::vector<std::string> names{"categories8", "trainids19", "camvid11", "custom"};
  return names;
}

LabelSet make_label_set(std::string_view name, VoidPolicy policy,
                        const std::filesystem::path& place) {
  const std::filesystem::path root = undivided(place);
  if (name != kAutoLabelSet) check_name(name);
  if (is_pack(root)) {
    const Pack pack(root);
    const LabelSet& own = pack.index().label_set;
    pack.check_label_set(
        name == kAutoLabelSet ? std::string_view(own.name) : name,
        policy == VoidPolicy::standard ? own.void_is_class : policy == VoidPolicy::as_class);
    return own;
  }
  if (root.empty()) {
    if (name == kAutoLabelSet || name == "custom") {
      throw InputError(fmt::format("label set {} is that of a data set", name), "",
                       "name the data set");
    }
  } else {
    const IdSpace ids = recognize_ids(root);
    if (name == kAutoLabelSet) name = default_label_set(ids);
    check_ids(name, ids, root);
  }
  const bool void_is_class =
      policy == VoidPolicy::standard ? name == "categories8" : policy == VoidPolicy::as_class;
  LabelSet set;
  if (name == "categories8") {
    set = categories8(void_is_class);
  } else if (name == "trainids19") {
    set = trainids19(void_is_class);
  } else if (name == "camvid11") {
    set = camvid11(void_is_class);
  } else {
    set = custom(void_is_class, root);
  }
  set.name = name;
  set.void_is_class = void_is_class;
  for (size_t id = 0; id < set.known_id.size(); ++id) {
    if (!set.known_id[id]) set.label_of_id[id] = kIgnore;
  }
  return set;
}

LabelSet make_label_set_like(const ClassList& wanted, const std::filesystem::path& place) {
  const std::filesystem::path root = undivided(place);
  const VoidPolicy policy = wanted.void_is_class ? VoidPolicy::as_class : VoidPolicy::ignore;
  if (is_pack(root)) {
    const Pack pack(root);
    const LabelSet& own = pack.index().label_set;
    if (!std::ranges::equal(own.class_names, wanted.names)) {
      pack.check_label_set(wanted.label_set, wanted.void_is_class, wanted.names);
    }
    return own;
  }
  check_name(wanted.label_set);
  const IdSpace ids = recognize_ids(root);
  const bool mapped = ids == IdSpace::own && wanted.label_set != "custom";
  if (!mapped) check_ids(wanted.label_set, ids, root, wanted.owner);
  LabelSet labels = mapped ? make_label_set("custom", VoidPolicy::ignore, root)
                           : make_label_set(wanted.label_set, policy, root);
  check_classes(labels, wanted, root);
  return labels;
}

std::optional<UnknownId> find_unknown_id(const Image& mask, const LabelSet& labels) {
  require(mask.channels == 1, "a mask has one channel");
  const auto found = std::find_if(mask.pixels.begin(), mask.pixels.end(),
                                  [&](uint8_t id) { return !labels.known_id[id]; });
  if (found == mask.pixels.end()) return std::nullopt;
  const auto position = found - mask.pixels.begin();
  return UnknownId{*found, static_cast<int>(position / mask.width),
                   static_cast<int>(position % mask.width)};
}

bool looks_like_train_ids(const UnknownId& unknown, const LabelSet& labels) {
  return unknown.id == 255 && (labels.name == "categories8" || labels.name == "trainids19");
}

void throw_unknown_id(const UnknownId& unknown, const std::filesystem::path& mask,
                      const LabelSet& labels) {
  throw InputError(
      fmt::format("label id {} at x={}, y={} is not in the label set {}", unknown.id, unknown.x,
                  unknown.y, labels.name),
      mask.string(),
      looks_like_train_ids(unknown, labels)
          ? "0 to 18 and 255 are Cityscapes' train ids: give the *_gtFine_labelIds.png, "
            "label_set = \"trainids19\" makes train ids of them"
          : "correct the mask, or choose the label set that its ids belong to");
}

std::optional<UnknownId> resize_to_labels(const Image& mask, const LabelSet& labels, int height,
                                          int width, std::span<uint8_t> out) {
  require(mask.channels == 1, "a mask has one channel");
  resize_nearest(mask, height, width, out);
  for (size_t p = 0; p < out.size(); ++p) {
    const uint8_t id = out[p];
    if (!labels.known_id[id]) {
      const int y = static_cast<int>(p / to_size(width));
      const int x = static_cast<int>(p % to_size(width));
      return UnknownId{id, nearest_source(y, mask.height, height),
                       nearest_source(x, mask.width, width)};
    }
    out[p] = labels.label_of_id[id];
  }
  return std::nullopt;
}

}  // namespace macadam
