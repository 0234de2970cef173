#include "models/weights/hdf5_reader.h"

#ifdef MACADAM_HAS_HDF5

#include <fmt/format.h>
#include <hdf5.h>

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/to_size.h"
#include "models/weights/byte_reader.h"
#include "models/weights/keras_names.h"
#include "models/weights/stored_array.h"

namespace macadam {

namespace {

constexpr size_t kMaxNames = 1'000'000;
constexpr size_t kMaxDepth = 32;
constexpr std::string_view kSaveAgain =
    "save the whole model with Keras's model.save('model.h5'), or the weights as .safetensors";

/// Closes one of libhdf5's objects.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);

  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }

 private:
  hid_t id_;
  Close close_;
};

// libhdf5 takes the bytes of a file in memory, and would copy them twice: told to "allocate" and to
// "copy", it is given what lies there already.
void* same_image(size_t, H5FD_file_image_op_t, void* image) { return image; }
void* copied_image(void* to, const void*, size_t, H5FD_file_image_op_t, void*) { return to; }
void* no_larger_image(void*, size_t, H5FD_file_image_op_t, void*) { return nullptr; }
herr_t keep_image(void*, H5FD_file_image_op_t, void*) { return 0; }
void* same_data(void* image) { return image; }
herr_t keep_data(void*) { return 0; }

Handle open_image(std::span<const std::byte> image) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // it prints its errors unless told not to
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  void* bytes = const_cast<std::byte*>(image.data());  // opened for reading
  H5FD_file_image_callbacks_t callbacks{
      same_image, copied_image, no_larger_image, keep_image, same_data, keep_data, bytes};
  const bool set = H5Pset_fapl_core(access.get(), 1 << 20, false) >= 0 &&
                   H5Pset_file_image_callbacks(access.get(), &callbacks) >= 0 &&
                   H5Pset_file_image(access.get(), bytes, image.size()) >= 0;
  // The name is of no file: libhdf5 makes sure that there is none.
  return {set ? H5Fopen("image", H5F_ACC_RDONLY, access.get()) : -1, H5Fclose};
}

/// The object at `path` below `location`, if there is one that can be reached by links within the
/// file only.
Handle find_object(hid_t location, const std::string& path) {
  Handle object(-1, H5Oclose);
  size_t begin = 0;
  while (begin < path.size()) {
    const size_t slash = std::min(path.find('/', begin), path.size());
    const std::string part = path.substr(begin, slash - begin);
    begin = slash + 1;
    if (part.empty()) continue;
    const hid_t from = object ? object.get() : location;
    H5L_info_t link;
    if (H5Lexists(from, part.c_str(), H5P_DEFAULT) <= 0 ||
        H5Lget_info(from, part.c_str(), &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD) {
      return {-1, H5Oclose};
    }
    Handle next(H5Oopen(from, part.c_str(), H5P_DEFAULT), H5Oclose);
    if (!next) return next;
    object = std::move(next);
  }
  return object;
}

bool is_a(const Handle& object, H5I_type_t type) {
  return object && H5Iget_type(object.get()) == type;
}

bool has_attribute(hid_t object, const std::string& name) {
  return H5Aexists(object, name.c_str()) > 0;
}

/// What is open of a file.
struct Content {
  Handle file;
  std::vector<WeightTensor> tensors;
  std::vector<Handle> datasets;
};

/// Finds the weights.
class KerasReader {
 public:
  KerasReader(std::span<const std::byte> image, std::string_view file)
      : file_name_(file),
        content_{open_image(image), {}, {}},
        room_(most_hdf5_elements(image.size())) {
    if (!content_.file) damaged("the HDF5 file is damaged", file_name_);
  }

  Content read() {
    const Handle below = find_object(content_.file.get(), "model_weights");
    const bool full_model = is_a(below, H5I_GROUP);
    const hid_t root = full_model ? below.get() : content_.file.get();
    if (has_names(root, "layer_names")) {
      for (const std::string& layer : names(root, "layer_names")) read_layer(root, layer);
    } else {
      read_groups(content_.file.get(), "", 0);
      if (groups_of_variables_ == 0) {
        throw InputError(
            "the HDF5 file has no Keras weights (no attribute layer_names at / or /model_weights, "
            "and no groups 'vars' of a .weights.h5)",
            file_name_, kSaveAgain);
      }
    }
    if (content_.tensors.empty()) {
      throw InputError("the layers of the HDF5 file have no weights", file_name_, kSaveAgain);
    }
    return std::move(content_);
  }

 private:
  struct Stored {
    Handle dataset;
    TensorShape shape;
    StoredType type;
  };

  void read_layer(hid_t root, const std::string& layer) {
    const Handle group = find_object(root, layer);
    if (!is_a(group, H5I_GROUP)) {
      damaged("a layer that layer_names names is missing", where(layer));
    }
    const std::vector<std::string> weights = names(group.get(), "weight_names");
    const std::vector<std::string> tensor_names = keras_names(layer, weights);
    for (size_t i = 0; i < weights.size(); ++i) {
      add(open_tensor(group.get(), weights[i]), weights[i], tensor_names[i]);
    }
  }

  /// The layers of a .weights.h5 at and below `group`.
  void read_groups(hid_t group, const std::string& path, size_t depth) {
    for (const std::string& name : links_of(group, path)) {
      if (keras3_training_state(name)) continue;
      // Links may make circles.
      if (depth >= kMaxDepth || ++groups_ > kMaxNames) damaged("too many groups", where(path));
      const Handle object = find_object(group, name);
      if (!object) damaged("a link that leads nowhere, or out of the file", where(path + name));
      if (!is_a(object, H5I_GROUP)) continue;
      if (name == "vars") {
        ++groups_of_variables_;
        read_variables(group, object.get(), path);
      } else {
        read_groups(object.get(), path + name + "/", depth + 1);
      }
    }
  }

  /// The variables of the layer at `path`, which ends with a slash.
  void read_variables(hid_t parent, hid_t vars, const std::string& path) {
    std::vector<Stored> variables;
    std::vector<TensorShape> shapes;
    bool state = true;
    for (const std::string& key : links_of(vars, path)) {
      variables.push_back(open_tensor(vars, key));
      shapes.push_back(variables.back().shape);
      const StoredType type = variables.back().type;
      const bool real =
          type == StoredType::f16 || type == StoredType::f32 || type == StoredType::f64;
      state = state && (!real || shapes.back().empty());
    }
    if (state) return;  // seeds, counters and means of a loss, if anything
    const std::string group = path.substr(0, path.empty() ? 0 : path.size() - 1);
    const std::string class_name = group.substr(group.rfind('/') + 1);
    std::string layer = class_name.empty() ? "model" : class_name;
    for (const hid_t object : {parent, vars}) {
      const std::vector<std::string> own = names(object, "name");
      if (own.size() == 1 && !own.front().empty()) layer = own.front();
    }
    const auto kinds = keras3_kinds(class_name, layer, shapes);
    if (!kinds) {
      throw InputError(
          fmt::format("what the {} variables of layer {} are cannot be told from their shapes",
                      variables.size(), quote(layer)),
          where(group), kSaveAgain);
    }
    for (size_t i = 0; i < variables.size(); ++i) {
      add(std::move(variables[i]), path + "vars", layer + "/" + kinds->at(i));
    }
  }

  /// The names of a group's links, as Keras 3 orders them.
  std::vector<std::string> links_of(hid_t group, const std::string& path) const {
    std::vector<std::string> links;
    const auto append = [](hid_t, const char* name, const H5L_info_t*, void* list) -> herr_t {
      auto& all = *static_cast<std::vector<std::string>*>(list);
      if (all.size() >= kMaxNames) return -1;
      all.emplace_back(name);
      return 0;
    };
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, append, &links) < 0) {
      damaged("a group is damaged", where(path));
    }
    std::ranges::sort(links, keras3_before);
    return links;
  }

  Stored open_tensor(hid_t group, const std::string& path) {
    Handle dataset = find_object(group, path);
    if (!is_a(dataset, H5I_DATASET)) {
      damaged("a tensor is missing, or lies in another file", where(path));
    }
    const Handle plan(H5Dget_create_plist(dataset.get()), H5Pclose);
    if (H5Pget_external_count(plan.get()) != 0 || H5Pget_layout(plan.get()) == H5D_VIRTUAL) {
      damaged("a tensor whose data lies in another file", where(path));
    }
    TensorShape shape = shape_of(dataset.get(), path);
    const StoredType type = type_of(dataset.get(), path);
    return {std::move(dataset), std::move(shape), type};
  }

  void add(Stored tensor, const std::string& path, const std::string& name) {
    check_tensor_name(name, where(path));
    if (!names_.insert(name).second) {
      throw InputError("two layers have one name", where(name), "rename one of them in Keras");
    }
    content_.tensors.push_back({name, std::move(tensor.shape), tensor.type});
    content_.datasets.push_back(std::move(tensor.dataset));
  }

  TensorShape shape_of(hid_t dataset, const std::string& path) {
    const Handle space(H5Dget_space(dataset), H5Sclose);
    std::array<hsize_t, H5S_MAX_RANK> extents;
    const int rank = H5Sget_simple_extent_ndims(space.get());
    const bool simple =
        H5Sget_simple_extent_type(space.get()) != H5S_NULL && rank >= 0 && rank <= H5S_MAX_RANK;
    if (!simple || H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr) < 0) {
      damaged("a tensor without a shape", where(path));
    }
    TensorShape shape;
    int64_t count = 1;
    for (int d = 0; d < rank; ++d) {
      const hsize_t extent = extents[to_size(d)];
      const bool fits = static_cast<int64_t>(extent) >= 0 &&
                        !__builtin_mul_overflow(count, extent, &count) && count <= room_;
      if (!fits) damaged("a tensor is larger than the file", where(path));
      shape.push_back(static_cast<int64_t>(extent));
    }
    room_ -= count;
    return shape;
  }

  StoredType type_of(hid_t dataset, const std::string& path) const {
    const Handle type(H5Dget_type(dataset), H5Tclose);
    const H5T_class_t kind = H5Tget_class(type.get());
    const size_t size = H5Tget_size(type.get());
    const bool is_signed = kind == H5T_INTEGER && H5Tget_sign(type.get()) == H5T_SGN_2;
    if (kind == H5T_FLOAT && size == 2) return StoredType::f16;
    if (kind == H5T_FLOAT && size == 4) return StoredType::f32;
    if (kind == H5T_FLOAT && size == 8) return StoredType::f64;
    if (kind == H5T_INTEGER && size == 1) return is_signed ? StoredType::i8 : StoredType::u8;
    if (kind == H5T_INTEGER && size == 2) return is_signed ? StoredType::i16 : StoredType::u16;
    if (kind == H5T_INTEGER && size == 4) return is_signed ? StoredType::i32 : StoredType::u32;
    if (kind == H5T_INTEGER && size == 8) return is_signed ? StoredType::i64 : StoredType::u64;
    throw InputError("a tensor whose type cannot be weights", where(path), kSaveAgain);
  }

  /// Long lists of names are cut into attributes NAME0, NAME1, ...: an attribute holds 64 KiB.
  static bool has_names(hid_t object, const std::string& name) {
    return has_attribute(object, name) || has_attribute(object, name + "0");
  }
  std::vector<std::string> names(hid_t object, const std::string& name) const {
    std::vector<std::string> all;
    if (has_attribute(object, name)) {
      append_names(object, name, all);
    } else {
      for (size_t i = 0; has_attribute(object, name + std::to_string(i)); ++i) {
        append_names(object, name + std::to_string(i), all);
      }
    }
    return all;
  }

  void append_names(hid_t object, const std::string& name, std::vector<std::string>& all) const {
    const Handle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose);
    const Handle space(H5Aget_space(attribute.get()), H5Sclose);
    const hssize_t count = H5Sget_simple_extent_npoints(space.get());
    // Layers without weights have an empty list, whose type is whatever NumPy made of it.
    if (count == 0) return;
    const Handle type(H5Aget_type(attribute.get()), H5Tclose);
    if (count < 0 || to_size(count) > kMaxNames - all.size() ||
        H5Tget_class(type.get()) != H5T_STRING) {
      damaged("a list of names is damaged", where(name));
    }
    if (H5Tis_variable_str(type.get()) > 0) {
      append_variable(attribute.get(), space.get(), to_size(count), name, all);
    } else {
      append_fixed(attribute.get(), to_size(count), H5Tget_size(type.get()), name, all);
    }
  }

  void append_variable(hid_t attribute, hid_t space, size_t count, const std::string& name,
                       std::vector<std::string>& all) const {
    const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), H5T_VARIABLE);
    const Handle stored(H5Aget_type(attribute), H5Tclose);
    H5Tset_cset(type.get(), H5Tget_cset(stored.get()));
    std::vector<char*> texts(count, nullptr);
    if (H5Aread(attribute, type.get(), texts.data()) < 0) {
      damaged("a list of names is damaged", where(name));
    }
    for (const char* text : texts) all.emplace_back(text == nullptr ? "" : text);
    H5Dvlen_reclaim(type.get(), space, H5P_DEFAULT, texts.data());
  }

  void append_fixed(hid_t attribute, size_t count, size_t size, const std::string& name,
                    std::vector<std::string>& all) const {
    if (size == 0 || H5Aget_storage_size(attribute) != count * size ||
        static_cast<int64_t>(count * size) > room_) {
      damaged("a list of names is damaged", where(name));
    }
    const Handle stored(H5Aget_type(attribute), H5Tclose);
    std::string texts(count * size, '\0');
    if (H5Aread(attribute, stored.get(), texts.data()) < 0) {
      damaged("a list of names is damaged", where(name));
    }
    for (size_t i = 0; i < count; ++i) {
      const std::string text = texts.substr(i * size, size);
      all.push_back(text.substr(0, text.find('\0')));
    }
  }

  std::string where(const std::string& part) const {
    return fmt::format("{}: {}", file_name_, quote(part));
  }

  std::string file_name_;
  Content content_;
  std::unordered_set<std::string> names_;
  int64_t room_;  // elements that the file may still have
  size_t groups_ = 0, groups_of_variables_ = 0;
};

}  // namespace

int64_t most_hdf5_elements(size_t file_bytes) {
  return static_cast<int64_t>(file_bytes) * 4 + (1 << 20);
}

std::vector<WeightTensor> list_hdf5_tensors(std::span<const std::byte> image,
                                            std::string_view file) {
  return KerasReader(image, file).read().tensors;
}

std::string read_hdf5_tensors(std::span<const std::byte> image, std::string_view file,
                              std::span<float> values) {
  const Content content = KerasReader(image, file).read();
  std::string readable;
  for (size_t i = 0; i < content.tensors.size(); ++i) {
    const auto count = to_size(elements(content.tensors[i].shape));
    require(count <= values.size(), "there is room for the values of all tensors");
    const bool read = count == 0 || H5Dread(content.datasets[i].get(), H5T_NATIVE_FLOAT, H5S_ALL,
                                            H5S_ALL, H5P_DEFAULT, values.data()) >= 0;
    readable += read ? '1' : '0';
    values = values.subspan(count);
  }
  return readable;
}

}  // namespace macadam

#endif
