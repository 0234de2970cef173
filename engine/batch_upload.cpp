#include "engine/batch_upload.h"

namespace macadam {

BatchUpload::BatchUpload(Plan& plan, Stream& stream, Ops& ops, const Normalization& normalization)
    : plan_(plan),
      stream_(stream),
      ops_(ops),
      normalization_(normalization),
      copy_stream_(stream.device()) {
  const Device device = stream.device();
  if (!device.is_cuda()) return;
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

void BatchUpload::upload(const Batch& batch, Slot& slot) {
  copy_stream_.wait(slot.consumed);
  copy_bytes(copy_stream_, slot.images.data(), batch.images.data, batch.images.bytes());
  if (batch.labels.data != nullptr) {
    copy_bytes(copy_stream_, slot.labels.data(), batch.labels.data, batch.labels.bytes());
  }
  if (batch.flips != nullptr) {
    copy_bytes(copy_stream_, slot.flips.data(), batch.flips, slot.flips.bytes());
  }
  slot.uploaded.record(copy_stream_);
  stream_.wait(slot.uploaded);
}

void BatchUpload::run(const Batch& batch) {
  require(batch.images.shape == plan_.input().shape, "the batch has the plan's shape");
  const Device device = stream_.device();
  Slot& slot = slots_[turn_ = 1 - turn_];
  Tensor images = batch.images, labels = batch.labels;
  const uint8_t* flips = batch.flips;
  if (device.is_cuda()) {
    upload(batch, slot);
    images = Tensor(slot.images.data(), images.shape, DType::u8, device);
    if (labels.data != nullptr) {
      labels = Tensor(slot.labels.data(), labels.shape, DType::u8, device);
    }
    if (flips != nullptr) flips = reinterpret_cast<const uint8_t*>(slot.flips.data());
  }
  ops_.augment->prepare_images(images, flips, normalization_, plan_.input());
  if (plan_.labels().data != nullptr && labels.data != nullptr) {
    ops_.augment->prepare_labels(labels, flips, plan_.labels());
  }
  if (device.is_cuda()) {
    slot.consumed.record(stream_);
    slot.uploaded.synchronize();
  }
}

}  // namespace macadam
