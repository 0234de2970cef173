#include "engine/batch_upload.h"

namespace macadam {

namespace {

/// Makes room for `bytes`, once: batches of a run have programs of one size.
void make_room(Buffer& buffer, Device device, size_t bytes) {
  if (buffer.bytes() < bytes) buffer = Buffer(device, bytes);
}

size_t program_bytes(const Batch& batch) {
  return batch.programs.data == nullptr
             ? 0
             : static_cast<size_t>(batch.images.shape.n) * batch.programs.limits.bytes;
}

}  // namespace

BatchUpload::BatchUpload(Plan& plan, Stream& stream, Ops& ops, const Normalization& normalization,
                         DeviceCache* cache)
    : plan_(plan),
      stream_(stream),
      ops_(ops),
      normalization_(normalization),
      cache_(cache),
      copies_(stream.device().is_cuda() || cache != nullptr),
      copy_stream_(stream.device()) {
  if (!copies_) return;
  const Device device = stream.device();
  const Shape images = plan.input().shape;
  for (Slot& slot : slots_) {
    slot.images = Buffer(device, static_cast<size_t>(images.elements()));
    slot.labels = Buffer(device, static_cast<size_t>(images.pixels()));
    slot.flips = Buffer(device, static_cast<size_t>(images.n));
    slot.uploaded = Event(device);
    slot.consumed = Event(device);
    slot.consumed.record(stream);
  }
}

void BatchUpload::upload_samples(const Batch& batch, Slot& slot) {
  require(batch.labels.data != nullptr, "samples are cached with their labels");
  const Shape& shape = batch.images.shape;
  const auto pixels = static_cast<size_t>(shape.pixels() / shape.n);
  for (int i = 0; i < shape.n; ++i) {
    const auto position = static_cast<size_t>(i);
    std::byte* image = slot.images.data() + position * 3 * pixels;
    std::byte* labels = slot.labels.data() + position * pixels;
    const int sample = batch.samples[position];
    if (batch.cached != nullptr && batch.cached[position] != 0) {
      cache_->copy_to(copy_stream_, sample, image, labels);
      continue;
    }
    copy_bytes(copy_stream_, image,
               static_cast<const std::byte*>(batch.images.data) + position * 3 * pixels,
               3 * pixels);
    copy_bytes(copy_stream_, labels,
               static_cast<const std::byte*>(batch.labels.data) + position * pixels, pixels);
    if (cache_->has_room_for(sample)) cache_->store(copy_stream_, sample, image, labels);
  }
}

void BatchUpload::upload(const Batch& batch, Slot& slot) {
  copy_stream_.wait(slot.consumed);
  if (cache_ != nullptr) {
    upload_samples(batch, slot);
  } else {
    copy_bytes(copy_stream_, slot.images.data(), batch.images.data, batch.images.bytes());
    if (batch.labels.data != nullptr) {
      copy_bytes(copy_stream_, slot.labels.data(), batch.labels.data, batch.labels.bytes());
    }
  }
  if (batch.flips != nullptr) {
    copy_bytes(copy_stream_, slot.flips.data(), batch.flips, slot.flips.bytes());
  }
  if (const size_t bytes = program_bytes(batch); bytes > 0) {
    make_room(slot.programs, stream_.device(), bytes);
    copy_bytes(copy_stream_, slot.programs.data(), batch.programs.data, bytes);
  }
  slot.uploaded.record(copy_stream_);
  stream_.wait(slot.uploaded);
}

void prepare_batch(AugmentOps& ops, const Batch& batch, const Normalization& normalization,
                   Buffer& scratch, const Tensor& x, const Tensor& labels) {
  if (batch.programs.data != nullptr) {
    require(batch.labels.data != nullptr && labels.data != nullptr, "programs move labels too");
    make_room(scratch, x.device, augment_scratch_bytes(x.shape, batch.programs.limits));
    ops.augment(batch.images, batch.labels, batch.programs, normalization, scratch.data(), x,
                labels);
    return;
  }
  ops.prepare_images(batch.images, batch.flips, normalization, x);
  if (batch.labels.data != nullptr && labels.data != nullptr) {
    ops.prepare_labels(batch.labels, batch.flips, labels);
  }
}

void BatchUpload::run(const Batch& batch) {
  require(batch.images.shape == plan_.input().shape, "the batch has the plan's shape");
  const Device device = stream_.device();
  Slot& slot = slots_[turn_ = 1 - turn_];
  Batch here = batch;
  if (copies_) {
    upload(batch, slot);
    here.images = Tensor(slot.images.data(), batch.images.shape, DType::u8, device);
    if (batch.labels.data != nullptr) {
      here.labels = Tensor(slot.labels.data(), batch.labels.shape, DType::u8, device);
    }
    if (batch.flips != nullptr) {
      here.flips = reinterpret_cast<const uint8_t*>(slot.flips.data());
    }
    if (batch.programs.data != nullptr) here.programs.data = slot.programs.data();
  }
  prepare_batch(*ops_.augment, here, normalization_, scratch_, plan_.input(), plan_.labels());
  if (copies_) {
    slot.consumed.record(stream_);
    slot.uploaded.synchronize();
  }
}

}  // namespace macadam
