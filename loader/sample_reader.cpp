#include "loader/sample_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "base/error.h"
#include "image/resize.h"
#include "loader/pack.h"

namespace macadam {

namespace {

void check_label_set(const Pack& pack, const LabelSet& label_set) {
  pack.check_label_set(label_set.name, label_set.void_is_class, label_set.class_names);
}

/// A sample's two files, found to be of one size.
struct SampleFiles {
  Image mask;
  ImageFile photo;
  std::string name;  // of the photo
  ImageInfo info;

  SampleFiles(const Sample& sample, const MaskCoding& masks)
      : mask(read_mask(sample.mask, masks)), photo(sample.image), name(sample.image.string()) {
    info = probe_image(photo.bytes(), name);
    if (mask.height == info.height && mask.width == info.width) return;
    const bool turned = info.orientation != 1 && mask.height == info.width;
    throw InputError(fmt::format("mask has {} x {} pixels, its photo {} x {}", mask.width,
                                 mask.height, info.width, info.height),
                     fmt::format("{}, {}", sample.mask.string(), name),
                     turned ? "turn the mask: the photo's EXIF orientation is applied"
                            : "give both the same size");
  }
};

void labels_of(const Image& mask, const Sample& sample, const LabelSet& label_set, int height,
               int width, std::span<uint8_t> labels) {
  if (const auto unknown = resize_to_labels(mask, label_set, height, width, labels)) {
    throw_unknown_id(*unknown, sample.mask, label_set);
  }
}

}  // namespace

void load_sample(const Sample& sample, const MaskCoding& masks, const LabelSet& label_set,
                 int height, int width, bool reduced_decoding, std::span<uint8_t> image,
                 std::span<uint8_t> labels, std::string* fault) {
  if (sample.pack) {
    check_label_set(*sample.pack, label_set);
    sample.pack->load(*sample.record, height, width, reduced_decoding, image, labels);
    return;
  }
  const SampleFiles files(sample, masks);
  DecodeOptions options;
  if (reduced_decoding) options = {height, width};
  options.fault = fault;
  const Image photo = decode_rgb(files.photo.bytes(), files.name, {}, options);
  resize_bilinear(photo, height, width, image);
  labels_of(files.mask, sample, label_set, height, width, labels);
}

DecodedSample read_sample(const Sample& sample, const MaskCoding& masks, const LabelSet& label_set,
                          std::string* fault) {
  if (sample.pack) {
    check_label_set(*sample.pack, label_set);
    return {sample.pack->photo(*sample.record), sample.pack->labels(*sample.record)};
  }
  const SampleFiles files(sample, masks);
  const Image& mask = files.mask;
  DecodedSample decoded{decode_rgb(files.photo.bytes(), files.name, {}, {.fault = fault}),
                        Image(mask.height, mask.width, 1)};
  labels_of(mask, sample, label_set, mask.height, mask.width, decoded.labels.pixels);
  return decoded;
}

StoredSample::StoredSample(const Sample& sample, const MaskCoding& masks, const LabelSet& label_set)
    : sample_(sample) {
  if (sample.pack) {
    check_label_set(*sample.pack, label_set);
    labels_ = sample.pack->labels(*sample.record);
    info_ = sample.pack->photo_info(*sample.record);
    return;
  }
  SampleFiles files(sample, masks);
  labels_ = Image(files.mask.height, files.mask.width, 1);
  labels_of(files.mask, sample, label_set, labels_.height, labels_.width, labels_.pixels);
  ids_ = std::move(files.mask);
  info_ = files.info;
  photo_ = std::make_unique<ImageFile>(std::move(files.photo));
}

std::vector<Image> StoredSample::photos_at(std::span<const ImageSize> sizes,
                                           std::string* fault) const {
  std::map<int, Image> decoded;  // by reduction
  std::vector<Image> photos;
  photos.reserve(sizes.size());
  for (const auto& [height, width] : sizes) {
    const DecodeOptions options{height, width, fault};
    const auto [found, is_new] = decoded.try_emplace(reduction_of(info_, options));
    Image& photo = found->second;
    if (is_new) {
      photo = photo_ ? decode_rgb(photo_->bytes(), sample_.image.string(), {}, options)
                     : sample_.pack->photo(*sample_.record, options);
    }
    const bool same = photo.height == height && photo.width == width;
    photos.push_back(same ? photo : resize_bilinear(photo, height, width));
  }
  return photos;
}

}  // namespace macadam
