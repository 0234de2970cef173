#pragma once
// From the class ids in mask files to the labels a network learns, and back.

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/rgb.h"
#include "image/image.h"

namespace macadam {

/// The label that no loss and no metric counts.
inline constexpr uint8_t kIgnore = 255;

/// What the ids in the mask files of a data set mean.
enum class IdSpace : uint8_t {
  own,         // what its dataset.toml says
  cityscapes,  // 0 to 33 of cityscapesScripts
  camvid,      // 0 to 11 in SegNet's order
};

/// "Cityscapes ids", "CamVid ids", "ids of its dataset.toml".
std::string_view name_of(IdSpace ids);

/// What becomes of pixels that belong to no class ("void", "unlabelled").
enum class VoidPolicy : uint8_t {
  standard,  // as usual for the label set: a class in categories8, ignored in the others
  ignore,    // label 255
  as_class,  // a class of its own
};

/// "ignore", "class", or "auto" for the standard; anything else is an InputError.
VoidPolicy parse_void_policy(std::string_view text);

struct LabelSet {
  std::string name;                      // "categories8", "trainids19", "camvid11", "custom"
  std::vector<std::string> class_names;  // one a train label, label 0 first
  std::vector<Rgb> palette;              // one a class
  std::vector<uint8_t> file_ids;         // one a class: the id that stands for it in written masks
  bool void_is_class = false;
  std::array<uint8_t, 256> label_of_id{};  // file id -> train label, kIgnore where not learnt
  std::array<bool, 256> known_id{};        // ids that may stand in a file of this set

  int classes() const { return static_cast<int>(class_names.size()); }
};

/// The names of all sets; "custom" is read from the data set's dataset.toml.
std::span<const std::string> label_set_names();

/// Stands for the label set that a data set's ids are usually read with.
inline constexpr std::string_view kAutoLabelSet = "auto";

/// The ids that the label set `name` is for. Requires one of label_set_names().
IdSpace ids_of(std::string_view name);

/// The label set that masks of these ids are usually read with.
std::string_view default_label_set(IdSpace ids);

/// The label set `name` for the masks of the data set `root` (a folder or a pack), or, where that
/// is empty, for masks of its ids anywhere:
///   categories8  Cityscapes ids 0..33 -> void, flat, construction, object, nature, sky, human,
///                vehicle (with void ignored: the seven from flat on)
///   trainids19   Cityscapes ids 0..33 -> the 19 evaluated classes; the others are void
///   camvid11     CamVid ids 0..10; 11 is void
///   custom       ROOT/dataset.toml
///   auto         the usual one of the data set's ids; of a pack, its own
/// Where the data set is a pack, its own: an InputError names both unless it has this name and this
/// policy (standard: any).
/// A class void comes first in categories8 and last elsewhere. Source of the Cityscapes tables:
/// cityscapesScripts helpers/labels.py. Written ids are ids that the official evaluation counts.
/// Throws InputError for an unknown name (naming the nearest), for a set that is for other ids than
/// the masks hold (saying how to map them), for a root that is no data set, for "custom" and "auto"
/// without a root, and for void as a class where no id is void.
LabelSet make_label_set(std::string_view name, VoidPolicy policy = VoidPolicy::standard,
                        const std::filesystem::path& root = {});

/// The classes that something was made with: a model, or the data set that one trains on.
struct ClassList {
  std::string_view owner;  // in errors: "the model"
  std::string_view label_set;
  bool void_is_class = false;
  std::span<const std::string> names;
};

/// The label set under which the data set `root` has the classes of `wanted`, in their order: that
/// of the same name, or else one of its own (dataset.toml, pack) with the same class names, whose
/// ids may be any. Throws InputError that names the first class that differs, and as make_label_set
/// does.
LabelSet make_label_set_like(const ClassList& wanted, const std::filesystem::path& root);

/// An id that the label set does not know, and where it was first met (row by row).
struct UnknownId {
  uint8_t id = 0;
  int y = 0, x = 0;
};

/// The first pixel of `mask` (1 channel) whose id is not known; nothing when all are.
std::optional<UnknownId> find_unknown_id(const Image& mask, const LabelSet& labels);

/// Whether it comes of a mask of Cityscapes' train ids, which has 255 where ids are not learnt.
bool looks_like_train_ids(const UnknownId& unknown, const LabelSet& labels);

/// Throws the InputError that names the mask file, the id, the pixel and the label set.
[[noreturn]] void throw_unknown_id(const UnknownId& unknown, const std::filesystem::path& mask,
                                   const LabelSet& labels);

/// Resizes `mask` (1 channel) to height x width by nearest neighbour and maps its ids to train
/// labels. Returns the first sampled pixel whose id is not known (`out` is then unfinished).
std::optional<UnknownId> resize_to_labels(const Image& mask, const LabelSet& labels, int height,
                                          int width, std::span<uint8_t> out);

}  // namespace macadam
