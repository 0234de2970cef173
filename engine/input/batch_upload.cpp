#include "engine/input/batch_upload.h"

#include "base/to_size.h"

namespace macadam {

namespace {

/// Makes room for `bytes`, once: batches of a run have programs of one size.
void make_room(Buffer& buffer, Device device, size_t bytes) {
  if (buffer.bytes() < bytes) buffer = Buffer(device, bytes);
}

size_t program_bytes(const Batch& batch) {
  return batch.programs.data == nullptr
             ? 0
             : to_size(batch.images.shape.n) * batch.programs.limits.bytes;
}

}  // namespace

void prepare_batch(Stream& stream, AugmentOps& ops, const Batch& batch,
                   const Normalization& normalization, Buffer& scratch, const Tensor& x,
                   const Tensor& labels) {
  if (batch.programs.data != nullptr) {
    require(batch.labels.data != nullptr && labels.data != nullptr, "programs move labels too");
    make_room(scratch, x.device, augment_scratch_bytes(x.shape, batch.programs.limits));
    ops.augment(batch.images, batch.labels, batch.programs, normalization, scratch.data(), x,
                labels);
    return;
  }
  ops.prepare_images(batch.images, false, normalization, x);
  if (batch.labels.data != nullptr && labels.data != nullptr) {
    copy_bytes(stream, labels.data, batch.labels.data, batch.labels.bytes());
  }
}

BatchUpload::BatchUpload(Plan& plan, Stream& stream, const Normalization& normalization,
                         DeviceCache* cache)
    : plan_(plan),
      stream_(stream),
      normalization_(normalization),
      cache_(cache),
      copies_(stream.device().is_cuda() || cache != nullptr),
      own_stream_(stream.device()),
      augment_(make_augment_ops(own_stream_)),
      uploaded_(stream.device()),
      prepared_(stream.device()) {
  const Device device = stream.device();
  for (int i = 0; i < plan.inputs(); ++i) {
    // The plan itself has written there when it was made.
    read_.emplace_back(device);
    read_.back().record(stream);
  }
  if (!copies_) return;
  const Shape images = plan.input().shape;
  images_ = Buffer(device, to_size(images.elements()));
  labels_ = Buffer(device, to_size(images.pixels()));
}

void BatchUpload::also_fill(Plan& plan, const Normalization& normalization) {
  require(plan.input().shape == plan_.input().shape && plan.inputs() == plan_.inputs(),
          "plans with inputs of one shape");
  for (Event& read : read_) read.record(stream_);  // as in the constructor
  other_ = &plan;
  other_normalization_ = normalization;
}

void BatchUpload::upload_samples(const Batch& batch) {
  require(batch.labels.data != nullptr, "samples are cached with their labels");
  const Shape& shape = batch.images.shape;
  const auto pixels = to_size(shape.pixels() / shape.n);
  for (int i = 0; i < shape.n; ++i) {
    const auto position = to_size(i);
    std::byte* image = images_.data() + position * 3 * pixels;
    std::byte* labels = labels_.data() + position * pixels;
    const int sample = batch.samples[position];
    if (batch.cached != nullptr && batch.cached[position] != 0) {
      cache_->copy_to(own_stream_, sample, image, labels);
      continue;
    }
    copy_bytes(own_stream_, image,
               static_cast<const std::byte*>(batch.images.data) + position * 3 * pixels,
               3 * pixels);
    copy_bytes(own_stream_, labels,
               static_cast<const std::byte*>(batch.labels.data) + position * pixels, pixels);
    if (cache_->has_room_for(sample)) cache_->store(own_stream_, sample, image, labels);
  }
}

Batch BatchUpload::upload(const Batch& batch) {
  const Device device = stream_.device();
  Batch here = batch;
  here.images = Tensor(images_.data(), batch.images.shape, DType::u8, device);
  if (batch.labels.data != nullptr) {
    here.labels = Tensor(labels_.data(), batch.labels.shape, DType::u8, device);
  }
  if (cache_ != nullptr) {
    upload_samples(batch);
  } else {
    copy_bytes(own_stream_, images_.data(), batch.images.data, batch.images.bytes());
    if (batch.labels.data != nullptr) {
      copy_bytes(own_stream_, labels_.data(), batch.labels.data, batch.labels.bytes());
    }
  }
  if (const size_t bytes = program_bytes(batch); bytes > 0) {
    make_room(programs_, device, bytes);
    copy_bytes(own_stream_, programs_.data(), batch.programs.data, bytes);
    here.programs.data = programs_.data();
  }
  return here;
}

void BatchUpload::run(const Batch& batch) {
  require(batch.images.shape == plan_.input().shape, "the batch has the plan's shape");
  read_[to_size(input_)].record(stream_);
  input_ = (input_ + 1) % plan_.inputs();

  const Batch here = copies_ ? upload(batch) : batch;
  uploaded_.record(own_stream_);
  own_stream_.wait(read_[to_size(input_)]);
  prepare_batch(own_stream_, *augment_, here, normalization_, scratch_, plan_.input(input_),
                plan_.labels(input_));
  if (other_ != nullptr) {
    // A program moves the labels once more, to the same places.
    prepare_batch(own_stream_, *augment_, here, other_normalization_, scratch_,
                  other_->input(input_),
                  here.programs.data != nullptr ? plan_.labels(input_) : Tensor{});
    other_->use_input(input_);
  }
  prepared_.record(own_stream_);
  stream_.wait(prepared_);
  plan_.use_input(input_);
  uploaded_.synchronize();
}

}  // namespace macadam
