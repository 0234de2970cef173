#include "loader/pack.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "image/deflate.h"
#include "image/resize.h"
#include "loader/run_length.h"

namespace macadam {

namespace {

std::span<const uint8_t> bytes_of(const MappedFile& file) {
  const auto bytes = file.bytes();
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

std::string describe(std::string_view label_set, bool void_is_class) {
  return fmt::format("{} with void {}", label_set, void_is_class ? "a class" : "ignored");
}

}  // namespace

bool is_pack(const std::filesystem::path& path) {
  return path.extension() == ".pack" && std::filesystem::is_regular_file(path);
}

Pack::Pack(const std::filesystem::path& path)
    : path_(path),
      file_(path),
      bytes_(bytes_of(file_)),
      index_(parse_pack(bytes_, path.string())) {}

void Pack::check_label_set(std::string_view name, bool void_is_class,
                           std::span<const std::string> classes) const {
  const LabelSet& own = index_.label_set;
  if (own.name != name || own.void_is_class != void_is_class) {
    throw InputError(
        fmt::format("the pack's label set is {}, not {}", describe(own.name, own.void_is_class),
                    describe(name, void_is_class)),
        path_.string(), "ask for the pack's label set, or pack the data set with the other one");
  }
  if (!classes.empty() &&
      !std::equal(classes.begin(), classes.end(), own.class_names.begin(), own.class_names.end())) {
    throw InputError(fmt::format("the pack's label set {} has the classes {}, not {}", own.name,
                                 joined(own.class_names), joined(classes)),
                     path_.string(), "pack the data set again");
  }
}

void Pack::fail(const PackRecord& record, std::string_view what) const {
  throw InputError(fmt::format("record \"{}\" of the pack is damaged ({})", record.id, what),
                   fmt::format("{}, {}", path_.string(), record.image),
                   "pack the data set again, or leave the record out: "
                   "macadam pack OLD.pack NEW.pack --skip-damaged");
}

void Pack::require_unchanged() const {
  if (file_.unchanged()) return;
  throw InputError("the pack changed while it was read", path_.string(),
                   "leave it alone until the program is done; macadam pack replaces it safely");
}

std::span<const uint8_t> Pack::bytes(const PackRecord& record) const {
  require_unchanged();  // pages beyond the end of a file that shrank would end the program
  return bytes_.subspan(record.offset, record.photo_size + record.labels_size);
}

std::span<const uint8_t> Pack::photo_bytes(const PackRecord& record) const {
  const auto bytes = this->bytes(record).first(record.photo_size);
  if (crc32(bytes) != record.photo_checksum) fail(record, "the photo's checksum does not hold");
  return bytes;
}

void Pack::read_labels(const PackRecord& record, std::span<uint8_t> out) const {
  const auto bytes = this->bytes(record).subspan(record.photo_size);
  if (crc32(bytes) != record.labels_checksum) fail(record, "the labels' checksum does not hold");
  if (index_.labels == LabelCoding::raw) {
    std::copy(bytes.begin(), bytes.end(), out.begin());
  } else if (!decode_runs(bytes, out)) {
    fail(record, "the runs of labels do not fill the image");
  }
  const auto classes = static_cast<uint8_t>(index_.label_set.classes());
  // Without an early end, so that it compiles to vector instructions.
  unsigned unknown = 0;
  for (const uint8_t label : out)
    unknown |= unsigned{label >= classes} & unsigned{label != kIgnore};
  if (unknown != 0) fail(record, "a label that the label set does not have");
  require_unchanged();
}

std::string Pack::name_of(const PackRecord& record) const {
  return fmt::format("{}, {}", path_.string(), record.image);
}

ImageInfo Pack::photo_info(const PackRecord& record) const {
  const int height = static_cast<int>(record.height), width = static_cast<int>(record.width);
  if (index_.photos == PhotoCoding::raw) return {.height = height, .width = width, .channels = 3};
  const ImageInfo info = probe_image(bytes(record).first(record.photo_size), name_of(record));
  if (info.height != height || info.width != width) fail(record, "a photo of another size");
  return info;
}

Image Pack::photo(const PackRecord& record, const DecodeOptions& options) const {
  const auto bytes = photo_bytes(record);
  const ImageInfo info = photo_info(record);
  if (index_.photos != PhotoCoding::raw) return decode_rgb(bytes, name_of(record), {}, options);
  Image image(info.height, info.width, 3);
  std::copy(bytes.begin(), bytes.end(), image.pixels.begin());
  return image;
}

Image Pack::labels(const PackRecord& record) const {
  Image labels(static_cast<int>(record.height), static_cast<int>(record.width), 1);
  read_labels(record, labels.pixels);
  return labels;
}

void Pack::load(const PackRecord& record, int height, int width, bool reduced_decoding,
                std::span<uint8_t> image, std::span<uint8_t> labels) const {
  const bool same_size =
      static_cast<int>(record.height) == height && static_cast<int>(record.width) == width;
  if (same_size && index_.photos == PhotoCoding::raw) {
    const auto bytes = photo_bytes(record);
    std::copy(bytes.begin(), bytes.end(), image.begin());
    require_unchanged();
  } else {
    const DecodeOptions options = reduced_decoding ? DecodeOptions{height, width} : DecodeOptions{};
    resize_bilinear(photo(record, options), height, width, image);
  }
  if (same_size) {
    read_labels(record, labels);
  } else {
    resize_nearest(this->labels(record), height, width, labels);
  }
}

}  // namespace macadam
