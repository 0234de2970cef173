#include "server/service/gallery.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/error.h"
#include "base/folder.h"
#include "loader/pack.h"
#include "loader/sample_reader.h"
#include "loader/split_file.h"
#include "run/label_sets.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMostFileBytes = size_t{256} << 20;

std::string id_of(std::string_view split, std::string_view name) {
  std::string id = fmt::format("{}.{}", split, name);
  for (char& c : id) {
    const bool safe = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '.' || c == '_' || c == '-';
    if (!safe) c = '_';
  }
  return id;
}

/// Changes when the file does.
std::string tag_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return "none";
  return fmt::format("{:x}-{:x}-{:x}", status.st_ino, status.st_size,
                     status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec);
}

const char* media_type_of(ImageFormat format) {
  switch (format) {
    case ImageFormat::jpeg: return "image/jpeg";
    case ImageFormat::png: return "image/png";
    case ImageFormat::bmp: break;
  }
  return "image/bmp";
}

}  // namespace

Gallery::Gallery(const fs::path& root) : root_(root) {
  splits_ = list_splits(root);
  std::error_code error;
  real_root_ = fs::canonical(undivided(root), error);
  if (splits_.empty()) splits_.emplace_back(kWholeSplit);
  for (const std::string& split : splits_) {
    const SplitScan scan = scan_split(root, split);
    name_ = scan.dataset.name;
    masks_ = scan.dataset.masks;
    for (const Sample& sample : scan.dataset.samples) add(split, sample, true);
    for (const Sample& sample : scan.without_mask) add(split, sample, false);
  }
  if (items_.empty() && left_out_ > 0) {
    throw InputError("all photos of the gallery, or their masks, lie elsewhere, behind links",
                     root.string(), "copy them into its folder");
  }
  if (items_.empty()) {
    throw InputError("the gallery has no photos", root.string(), "give a data set that has some");
  }
  std::ranges::stable_sort(items_, {}, [this](const GalleryItem& item) {
    return std::pair(std::ranges::find(splits_, item.split), item.id);
  });
  for (size_t i = 0; i < items_.size(); ++i) {
    std::string id = items_[i].id;
    for (int n = 2; places_.contains(id); ++n) id = fmt::format("{}-{}", items_[i].id, n);
    items_[i].id = id;
    places_.emplace(std::move(id), i);
  }
}

void Gallery::add(const std::string& split, const Sample& sample, bool labeled) {
  if (sample.record == nullptr &&
      (!lies_in(sample.image, real_root_) || (labeled && !lies_in(sample.mask, real_root_)))) {
    ++left_out_;
    return;
  }
  GalleryItem item{id_of(split, sample.id), split, labeled, sample, {}};
  if (sample.record != nullptr) item.pack_tag = tag_of(sample.pack->path()) + "-" + item.id;
  items_.push_back(std::move(item));
}

const GalleryItem* Gallery::find(std::string_view id) const {
  const auto found = places_.find(id);
  return found == places_.end() ? nullptr : &items_[found->second];
}

std::string Gallery::photo_tag(const GalleryItem& item) {
  return item.pack_tag.empty() ? tag_of(item.sample.image) : item.pack_tag;
}

std::string Gallery::tag(const GalleryItem& item) const {
  if (!item.labeled || !item.pack_tag.empty()) return photo_tag(item);
  return fmt::format("{}-{}-{}", photo_tag(item), tag_of(item.sample.mask),
                     tag_of(real_root_ / "dataset.toml"));
}

PhotoFile Gallery::file(const GalleryItem& item) {
  if (item.sample.record != nullptr) {
    const auto png = encode_png(item.sample.pack->photo(*item.sample.record));
    return {"image/png", {png.begin(), png.end()}};
  }
  const FileBytes file(item.sample.image, kMostFileBytes);
  const std::span bytes(reinterpret_cast<const uint8_t*>(file.bytes().data()), file.bytes().size());
  const ImageInfo info = probe_image(bytes, item.sample.image.string());
  return {media_type_of(info.format), {bytes.begin(), bytes.end()}};
}

Image Gallery::photo(const GalleryItem& item, const DecodeOptions& options,
                     const ImageLimits& limits) {
  if (item.sample.record != nullptr) return item.sample.pack->photo(*item.sample.record, options);
  return read_rgb(item.sample.image, limits, options);
}

DecodedPhoto Gallery::decode(const GalleryItem& item, const PhotoUse& use,
                             const ImageLimits& limits) {
  if (item.sample.record != nullptr) {
    return fit_photo(item.sample.pack->photo(*item.sample.record), use);
  }
  const ImageFile file(item.sample.image);
  return decode_photo(file.bytes(), item.sample.image.string(), use, limits);
}

Image Gallery::labels(const GalleryItem& item, const ModelInfo& model) const {
  require(item.labeled, "the photo has a mask");
  const LabelSet label_set = make_label_set(model, root_);
  return StoredSample(item.sample, masks_, label_set).labels();
}

}  // namespace macadam
