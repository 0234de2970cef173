#include "loader/augment/list.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/field_reader.h"
#include "base/text.h"
#include "loader/label_set.h"

namespace macadam {

namespace {

constexpr std::string_view kExample = "write for example [{name = \"HorizontalFlip\", p = 0.5}]";
constexpr int kMaxDepth = 8;

template <class T>
constexpr bool is_container = std::is_same_v<T, OneOf> || std::is_same_v<T, Compose>;
template <class T>
constexpr bool is_crop = std::is_same_v<T, RandomScale> || std::is_same_v<T, RandomCrop>;

template <class T>
constexpr double default_p() {
  if constexpr (requires { T::kDefaultP; }) return T::kDefaultP;
  return 0.5;
}

template <class... Ts>
std::vector<std::string> names_of(const std::variant<Ts...>*) {
  return {std::string(Ts::kName)...};
}

/// The transform of this name, with its defaults.
template <class... Ts>
std::optional<AugmentEntry> make_entry(std::string_view name, const std::variant<Ts...>*) {
  std::optional<AugmentEntry> entry;
  const auto try_one = [&]<class T>(std::type_identity<T>) {
    if (name == T::kName) entry = AugmentEntry{T{}, default_p<T>()};
  };
  (try_one(std::type_identity<Ts>{}), ...);
  return entry;
}

std::string_view name_of(const AugmentEntry& entry) {
  return std::visit([](const auto& transform) { return transform.kName; }, entry.transform);
}

/// The parameters of a transform that is no container.
template <class T>
void describe(T& transform, Fields& fields, ImageSize size) {
  if constexpr (requires { transform.describe(fields, size); }) {
    transform.describe(fields, size);
  } else {
    transform.describe(fields);
  }
}

/// Keys of the original that are left out on purpose, and what to do instead.
constexpr std::array<std::array<std::string_view, 2>, 4> kLeftOut{{
    {"always_apply", "write p = 1"},
    {"interpolation", "remove it: photos are interpolated linearly, masks take the nearest pixel"},
    {"rotate_method", "remove it: there are no boxes to rotate"},
    {"eps", "remove it: it has no effect"},
}};

/// The valid key that `key` most likely means: `limit` is more of a distort_limit than of a name.
std::string meant(const std::string& key, const std::vector<std::string>& valid) {
  const auto holds = [&](const std::string& other) { return other.find(key) != std::string::npos; };
  const auto found = std::ranges::find_if(valid, holds);
  return key.size() > 2 && found != valid.end() ? *found : nearest(key, valid);
}

void reject_unknown(const FieldReader& reader, std::string_view path, std::string_view where) {
  for (const auto& [key, origin] : reader.unread()) {
    const auto left_out =
        std::ranges::find(kLeftOut, key, [](const auto& item) { return item[0]; });
    throw InputError(
        fmt::format("{} has no parameter {}", path, quote(key)), place_of(origin, where),
        left_out != kLeftOut.end() ? std::string((*left_out)[1])
                                   : fmt::format("did you mean '{}'? (valid: {})",
                                                 meant(key, reader.keys()), joined(reader.keys())));
  }
}

/// Where a list stands, for errors and for what may stand in it.
struct Place {
  std::string_view where;
  ImageSize size;
  int depth = 0;
};

AugmentList parse_list(const ParameterValue& value, const std::string& path, const Place& place);

AugmentEntry parse_entry(const ParameterValue& value, const std::string& path, const Place& place) {
  const auto* table = std::get_if<ParameterTable>(&value.value);
  if (table == nullptr) {
    throw InputError(fmt::format("{} is {}", path, type_name(value)), place.where, kExample);
  }
  const ParameterValue* named = find(*table, "name");
  const auto* name = named == nullptr ? nullptr : std::get_if<std::string>(&named->value);
  if (name == nullptr) {
    throw InputError(fmt::format("{} is a transform without a name", path), place.where, kExample);
  }
  if (*name == "Normalize") {
    throw InputError(fmt::format("{} is Normalize", path), place.where,
                     "remove it: normalisation always comes last (see [normalization])");
  }
  constexpr const Transform* all = nullptr;
  std::optional<AugmentEntry> entry = make_entry(*name, all);
  if (!entry) {
    const std::vector<std::string> names = names_of(all);
    throw InputError(
        fmt::format("{} is the unknown transform {}", path, quote(*name)), place.where,
        fmt::format("did you mean \"{}\"? (valid: {})", nearest(*name, names), joined(names)));
  }
  const std::string full_path = fmt::format("{} {}", path, *name);
  FieldReader reader(*table, {full_path + ".", "", std::string(place.where)});
  reader.take("name");
  std::visit(
      [&]<class T>(T& transform) {
        if constexpr (is_container<T>) {
          const ParameterValue* list = reader.take("transforms");
          if (list == nullptr) reader.fail("transforms", "is missing", kExample);
          transform.transforms = parse_list(*list, full_path + ".transforms",
                                            {place.where, place.size, place.depth + 1});
          reader.check(!transform.transforms.empty(), "transforms", "is empty", kExample);
        } else {
          describe(transform, reader, place.size);
        }
        if constexpr (std::is_same_v<T, OneOf>) {
          const auto weighs = [](const AugmentEntry& child) { return child.p > 0; };
          reader.check(std::ranges::any_of(transform.transforms, weighs), "transforms",
                       "has no transform with a positive p", "their p are the weights: give some");
        }
      },
      entry->transform);
  reader.number("p", entry->p, 0, 1);
  reject_unknown(reader, full_path, place.where);
  return *std::move(entry);
}

AugmentList parse_list(const ParameterValue& value, const std::string& path, const Place& place) {
  const auto* values = std::get_if<ParameterList>(&value.value);
  if (values == nullptr) {
    throw InputError(fmt::format("{} is {}", path, type_name(value)), place.where, kExample);
  }
  if (place.depth > kMaxDepth) {
    throw InputError(fmt::format("{} is nested too deeply", path), place.where,
                     "write a list with fewer levels");
  }
  AugmentList list;
  for (size_t i = 0; i < values->size(); ++i) {
    const std::string entry_path = fmt::format("{}[{}]", path, i);
    list.push_back(parse_entry((*values)[i], entry_path, place));
    const auto fail = [&](std::string_view what, std::string_view remedy) {
      throw InputError(fmt::format("{} {} {}", entry_path, name_of(list.back()), what), place.where,
                       remedy);
    };
    const bool scale = std::holds_alternative<RandomScale>(list.back().transform);
    const bool crop = std::holds_alternative<RandomCrop>(list.back().transform);
    const bool behind_scale = i == 1 && std::holds_alternative<RandomScale>(list.front().transform);
    if ((scale || crop) && (place.depth > 0 || (i > 0 && !(crop && behind_scale)))) {
      fail("stands behind or within another transform",
           "begin the list with it: RandomScale, then RandomCrop, act on the photo as it is on "
           "disk");
    }
    if (behind_scale && !crop) {
      fail("stands where RandomScale needs a RandomCrop",
           "write RandomCrop behind RandomScale: it brings the photo to a fixed size");
    }
  }
  if (list.size() == 1 && std::holds_alternative<RandomScale>(list.front().transform)) {
    throw InputError(fmt::format("{}[0] RandomScale has no RandomCrop behind it", path),
                     place.where, "add one: it brings the photo to a fixed size");
  }
  return list;
}

void add_cost(const AugmentList& list, ImageSize size, AugmentCost& cost);

void add_cost(const AugmentEntry& entry, ImageSize size, AugmentCost& cost) {
  AugmentCost applied = cost;
  std::visit(
      [&]<class T>(const T& transform) {
        if constexpr (std::is_same_v<T, OneOf>) {
          for (const AugmentEntry& child : transform.transforms) {
            AugmentCost chosen = cost;
            add_cost(child, size, chosen);
            applied = worst(applied, chosen);
          }
        } else if constexpr (std::is_same_v<T, Compose>) {
          add_cost(transform.transforms, size, applied);
        } else if constexpr (!is_crop<T>) {
          transform.add_cost(size, applied);
        }
      },
      entry.transform);
  cost = worst(cost, applied);
}

void add_cost(const AugmentList& list, ImageSize size, AugmentCost& cost) {
  for (const AugmentEntry& entry : list) add_cost(entry, size, cost);
}

void check_cost(const AugmentCost& cost, std::string_view where) {
  const auto check = [&](int count, int most, std::string_view what) {
    if (count > most) {
      throw InputError(
          fmt::format("'augment' may need {} {}, and {} is the most", count, what, most), where,
          "remove transforms, or put them into OneOf");
    }
  };
  check(cost.maps, AugmentHeader::kMaxMaps,
        "geometric steps (one a transform, two for ElasticTransform)");
  check(cost.ops, AugmentHeader::kMaxOps,
        "pixel operations (one a transform, four for ColorJitter, one a hole for CoarseDropout)");
  check(cost.stages, AugmentHeader::kMaxStages, "stages (one for each CLAHE and each other Blur)");
  constexpr size_t kMostBytes = size_t{1} << 26;
  if (cost.limits().bytes > kMostBytes) {
    throw InputError(fmt::format("'augment' may need {} MiB a sample", cost.limits().bytes >> 20),
                     where, "write a larger sigma for ElasticTransform");
  }
}

/// Visits every entry, those within others too.
template <class Visit>
void for_each_entry(const AugmentList& list, const Visit& visit) {
  for (const AugmentEntry& entry : list) {
    visit(entry);
    if (const AugmentList* children = children_of(entry)) for_each_entry(*children, visit);
  }
}

/// A program has one fill for all its constant borders.
void check_fills(const AugmentList& list, std::string_view where) {
  const BorderFill* first = nullptr;
  for_each_entry(list, [&](const AugmentEntry& entry) {
    const BorderFill* border = border_of(entry);
    if (border == nullptr || border->border != Border::constant) return;
    if (first != nullptr && *first != *border) {
      throw InputError(
          fmt::format("'augment' has a {} whose value or mask_value differs from that of another "
                      "transform",
                      name_of(entry)),
          where, "write the same for all with border_mode = \"constant\"");
    }
    first = border;
  });
}

ParameterTable table_of(AugmentEntry entry) {
  ParameterTable table{{"name", {std::string(name_of(entry))}}};
  FieldList fields;
  std::visit(
      [&]<class T>(T& transform) {
        if constexpr (is_container<T>) {
          table.push_back({"transforms", to_value(transform.transforms)});
        } else {
          describe(transform, fields, {});
        }
      },
      entry.transform);
  fields.number("p", entry.p, 0, 1);
  for (NamedParameter& parameter : fields.table()) table.push_back(std::move(parameter));
  return table;
}

}  // namespace

bool OneOf::operator==(const OneOf& other) const { return transforms == other.transforms; }
bool Compose::operator==(const Compose& other) const { return transforms == other.transforms; }

AugmentList default_augmentation() { return {{HorizontalFlip{}, 0.5}}; }

const AugmentList* children_of(const AugmentEntry& entry) {
  return std::visit(
      []<class T>(const T& transform) -> const AugmentList* {
        if constexpr (is_container<T>) return &transform.transforms;
        return nullptr;
      },
      entry.transform);
}

const BorderFill* border_of(const AugmentEntry& entry) {
  return std::visit(
      []<class T>(const T& transform) -> const BorderFill* {
        if constexpr (requires { transform.border; }) return &transform.border;
        return nullptr;
      },
      entry.transform);
}

void check_fill_labels(const AugmentList& list, int classes) {
  for_each_entry(list, [classes](const AugmentEntry& entry) {
    const BorderFill* border = border_of(entry);
    const auto* holes = std::get_if<CoarseDropout>(&entry.transform);
    int label = kKeepLabel;
    if (border != nullptr && border->border == Border::constant) label = border->mask_value;
    if (holes != nullptr) label = holes->mask_fill_value;
    if (label < classes || label == kIgnore) return;
    throw InputError(fmt::format("'augment' has a {} that fills the mask with {}, but there are {} "
                                 "classes",
                                 name_of(entry), label, classes),
                     "augment", "write 255 to have those pixels ignored");
  });
}

AugmentList parse_augmentation(const ParameterValue& value, std::string_view where,
                               ImageSize size) {
  AugmentList list = parse_list(value, "augment", {where, size});
  check_fills(list, where);
  check_cost(cost_of(list, size), where);
  return list;
}

ParameterValue to_value(const AugmentList& list) {
  ParameterList values;
  for (const AugmentEntry& entry : list) values.push_back({table_of(entry)});
  return {std::move(values)};
}

AugmentCost cost_of(const AugmentList& list, ImageSize size) {
  AugmentCost cost;
  add_cost(list, size, cost);
  return cost;
}

}  // namespace macadam
