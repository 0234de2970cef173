#include "models/weights/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "base/text.h"
#include "base/to_size.h"
#include "models/weights/byte_reader.h"
#include "models/weights/pickle.h"
#include "models/weights/torch_state.h"

namespace macadam {

namespace {

using Kind = PickleValue::Kind;

constexpr std::string_view kObjectName = "/data.pkl";
constexpr std::string_view magic("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
constexpr int64_t kKnownProtocol = 1001;

void refuse_big_endian(std::string_view file) {
  throw InputError("the file was written by a big-endian machine", file,
                   "load it in PyTorch on a little-endian machine and save it again");
}

size_t element_bytes(const PickleStorage& storage) {
  return storage.dtype ? size_of(*storage.dtype) : 1;
}

/// `bytes` as the storage that its tensors see, which may be a part of it.
std::span<const std::byte> storage_part(std::span<const std::byte> bytes,
                                        const PickleStorage& storage, std::string_view file) {
  const uint64_t room = bytes.size() / element_bytes(storage);
  const auto outside = [&](int64_t first, int64_t count) {
    return first < 0 || count < 0 || static_cast<uint64_t>(first) > room ||
           static_cast<uint64_t>(count) > room - static_cast<uint64_t>(first);
  };
  if (outside(0, storage.count)) {
    damaged(fmt::format("the data of {} has {} bytes, too few for {} elements", quote(storage.key),
                        bytes.size(), storage.count),
            file);
  }
  const int64_t first = storage.view_offset.value_or(0);
  const int64_t count = storage.view_count.value_or(storage.count);
  if (outside(first, count)) damaged("a view lies outside its tensor data", file);
  return bytes.subspan(to_size(first) * element_bytes(storage),
                       to_size(count) * element_bytes(storage));
}

/// The folder of data.pkl. torch.save writes one, named after the file.
std::optional<std::string_view> torch_folder(const ZipArchive& archive) {
  for (const ZipArchive::Entry& entry : archive.entries()) {
    if (!entry.name.ends_with(kObjectName)) continue;
    const auto folder = entry.name.substr(0, entry.name.size() - kObjectName.size());
    if (!folder.empty() && folder.find('/') == std::string_view::npos) return folder;
  }
  return std::nullopt;
}

/// Tells apart what torch.save wrote and other pickles; says where the next pickle begins.
size_t check_magic(std::span<const std::byte> bytes, std::string_view file) {
  const Pickle first = read_pickle(bytes, file);
  if (first.root.kind != Kind::long_integer || first.text(first.root) != magic) {
    throw InputError("a pickle that torch.save did not write", file,
                     "save model.state_dict() with torch.save, or the weights as .npy files");
  }
  return first.bytes.size();
}

/// Where the data of every storage lies, by key.
using StorageTable = std::unordered_map<std::string_view, std::span<const std::byte>>;

StorageTable read_storages(const Pickle& object, const Pickle& keys,
                           std::span<const std::byte> bytes, std::string_view file) {
  std::unordered_map<std::string_view, size_t> sizes;  // bytes of an element
  for (const PickleStorage& storage : object.storages) {
    const auto [place, added] = sizes.emplace(storage.key, element_bytes(storage));
    if (!added && place->second != element_bytes(storage)) {
      damaged("tensor data of two types under one key", file);
    }
  }
  if (keys.root.kind != Kind::list) damaged("the file has no list of its tensor data", file);
  StorageTable table;
  ByteReader reader(bytes, file, "its tensor data");
  for (const PickleValue& item : keys.contents(keys.root)) {
    if (item.kind != Kind::text) damaged("the file has no list of its tensor data", file);
    const std::string_view key = keys.text(item);
    const auto size = sizes.find(key);
    if (size == sizes.end()) damaged("the file has tensor data that no tensor uses", file);
    const auto count = reader.number<int64_t>();
    if (count < 0 || static_cast<uint64_t>(count) > reader.left() / size->second) {
      damaged("the file ends inside its tensor data", file);
    }
    if (!table.emplace(key, reader.take(static_cast<uint64_t>(count) * size->second)).second) {
      damaged("a key occurs twice in the list of tensor data", file);
    }
  }
  return table;
}

/// The value of a text key in a dictionary, if it is there.
std::optional<PickleValue> lookup(const Pickle& pickle, std::string_view key) {
  if (pickle.root.kind != Kind::dict) return std::nullopt;
  const auto items = pickle.contents(pickle.root);
  for (size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i].kind == Kind::text && pickle.text(items[i]) == key) return items[i + 1];
  }
  return std::nullopt;
}

}  // namespace

bool is_torch_zip(const ZipArchive& archive) { return torch_folder(archive).has_value(); }

std::vector<NamedArray> read_torch_zip(const ZipArchive& archive, std::string_view file) {
  const auto folder = torch_folder(archive);
  require(folder.has_value(), "the archive was written by torch.save");
  const auto part = [&](std::string_view name) {
    return archive.find(fmt::format("{}/{}", *folder, name));
  };
  if (part("constants.pkl") != nullptr) {
    throw InputError("a TorchScript program rather than weights", file,
                     "load it with torch.jit.load, save its state_dict() and use that file");
  }
  if (const auto* order = part("byteorder")) {
    if (!text_of(archive.content(*order)).starts_with("little")) refuse_big_endian(file);
  }
  const Pickle pickle = read_pickle(archive.content(*part("data.pkl")), file);
  const auto storage_bytes = [&](const PickleStorage& storage) {
    const auto* entry = part(fmt::format("data/{}", storage.key));
    if (entry == nullptr) {
      damaged(fmt::format("the tensor data {} is missing", quote(storage.key)), file);
    }
    return storage_part(archive.content(*entry), storage, file);
  };
  return torch_state(pickle, storage_bytes, file);
}

std::vector<NamedArray> read_torch_legacy(std::span<const std::byte> bytes, std::string_view file) {
  size_t position = check_magic(bytes, file);
  const auto next = [&] {
    Pickle pickle = read_pickle(bytes.subspan(position), file);
    position += pickle.bytes.size();
    return pickle;
  };
  const Pickle version = next();
  if (version.root.kind != Kind::integer ||
      static_cast<int64_t>(version.root.payload) != kKnownProtocol) {
    damaged("an unknown version of PyTorch's file format", file);
  }
  const Pickle system = next();
  if (const auto little = lookup(system, "little_endian"); little && little->payload == 0) {
    refuse_big_endian(file);
  }
  const Pickle object = next();
  const Pickle keys = next();
  const StorageTable table = read_storages(object, keys, bytes.subspan(position), file);
  const auto storage_bytes = [&](const PickleStorage& storage) {
    const auto found = table.find(storage.key);
    if (found == table.end()) {
      damaged(fmt::format("the tensor data {} is missing", quote(storage.key)), file);
    }
    return storage_part(found->second, storage, file);
  };
  return torch_state(object, storage_bytes, file);
}

}  // namespace macadam
