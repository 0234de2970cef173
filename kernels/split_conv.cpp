#include "kernels/split_conv.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/round_up.h"
#include "base/to_size.h"
#include "kernels/device.h"

namespace macadam {

namespace {

/// Images [first, first + count) of a dense tensor.
Tensor images(const Tensor& whole, int first, int count) {
  Shape shape = whole.shape;
  const int64_t image = shape.elements() / shape.n;
  shape.n = count;
  auto* data = static_cast<std::byte*>(whole.data);
  return Tensor(data + to_size(first * image) * size_of(whole.dtype), shape, whole.dtype,
                whole.device);
}

class SplitConvolution final : public Convolution {
 public:
  SplitConvolution(const ConvDesc& desc, const std::vector<int>& pieces,
                   const std::function<std::unique_ptr<Convolution>(const ConvDesc&)>& make,
                   std::unique_ptr<ElementwiseOps> elementwise, Device device)
      : desc_(desc), pieces_(pieces), elementwise_(std::move(elementwise)), device_(device) {
    require(!pieces.empty() && std::reduce(pieces.begin(), pieces.end()) == desc.input.n,
            "pieces that add up to the batch");
    for (const int images : pieces) {
      if (by_images_.contains(images)) continue;
      ConvDesc piece = desc;
      piece.input.n = images;
      std::unique_ptr<Convolution>& made = by_images_[images] = make(piece);
      require(made->packs_like(first()), "convolutions of other batches that pack alike");
    }
  }

  size_t workspace_bytes() const override {
    return desc_.backward ? part_bytes() + pieces_workspace_bytes() : pieces_workspace_bytes();
  }
  size_t packed_bytes() const override { return first().packed_bytes(); }
  bool packs_like(const Convolution& other) const override {
    const auto* split = dynamic_cast<const SplitConvolution*>(&other);
    return first().packs_like(split != nullptr ? split->first() : other);
  }
  std::string implementation() const override {
    std::string text;
    for (const auto& [images, piece] : by_images_) {
      text += fmt::format("{}{} of {} images: {}", text.empty() ? "" : "; ",
                          std::count(pieces_.begin(), pieces_.end(), images), images,
                          piece->implementation());
    }
    return text;
  }

  void pack(const Tensor& weights, const Tensor& bias, void* packed) override {
    first().pack(weights, bias, packed);
  }
  std::vector<Cast> casts(const Tensor& weights, const Tensor& bias, void* packed) const override {
    return first().casts(weights, bias, packed);
  }

  void forward(const Tensor& x, const void* packed, const Tensor& y, void* workspace) override {
    for_each_piece([&](Convolution& piece, int at, int count) {
      piece.forward(images(x, at, count), packed, images(y, at, count), workspace);
    });
  }
  void backward_data(const Tensor& dy, const void* packed, const Tensor& dx,
                     void* workspace) override {
    for_each_piece([&](Convolution& piece, int at, int count) {
      piece.backward_data(images(dy, at, count), packed, images(dx, at, count), workspace);
    });
  }
  void backward_weights(const Tensor& x, const Tensor& dy, const Tensor& dw,
                        void* workspace) override {
    auto* const memory = static_cast<std::byte*>(workspace);
    const Tensor part(memory, dw.shape, DType::f32, device_);
    for_each_piece([&](Convolution& piece, int at, int count) {
      piece.backward_weights(images(x, at, count), images(dy, at, count), at == 0 ? dw : part,
                             memory + part_bytes());
      if (at > 0) elementwise_->copy(part, dw, true);
    });
  }

 private:
  /// The convolution of the first piece: it packs for all.
  Convolution& first() const { return *by_images_.at(pieces_.front()); }

  /// Calls f(convolution, first image, images) in order.
  template <typename F>
  void for_each_piece(F&& f) {
    int at = 0;
    for (const int images : pieces_) {
      f(*by_images_.at(images), at, images);
      at += images;
    }
  }

  /// The weights' gradient of one piece, before it is added.
  size_t part_bytes() const {
    return round_up(to_size(desc_.weights().elements()) * sizeof(float), kMemoryAlignment);
  }
  size_t pieces_workspace_bytes() const {
    size_t bytes = 0;
    for (const auto& [images, piece] : by_images_) {
      bytes = std::max(bytes, piece->workspace_bytes());
    }
    return bytes;
  }

  ConvDesc desc_;
  std::vector<int> pieces_;
  std::map<int, std::unique_ptr<Convolution>> by_images_;
  std::unique_ptr<ElementwiseOps> elementwise_;
  Device device_;
};

}  // namespace

std::vector<int> batch_pieces(const ConvDesc& desc, int64_t most_elements) {
  require(desc.input.n >= 1, "a convolution of at least one image");
  const int64_t image = std::max(desc.input.elements(), desc.output().elements()) / desc.input.n;
  const auto most = static_cast<int>(
      std::clamp<int64_t>(most_elements / std::max<int64_t>(image, 1), 1, desc.input.n));
  const int count = (desc.input.n + most - 1) / most;
  std::vector<int> pieces(to_size(count), desc.input.n / count);
  std::fill_n(pieces.begin(), desc.input.n % count, desc.input.n / count + 1);
  return pieces;
}

std::unique_ptr<Convolution> make_split_convolution(
    const ConvDesc& desc, const std::vector<int>& pieces,
    const std::function<std::unique_ptr<Convolution>(const ConvDesc&)>& make,
    std::unique_ptr<ElementwiseOps> elementwise, Device device) {
  return std::make_unique<SplitConvolution>(desc, pieces, make, std::move(elementwise), device);
}

}  // namespace macadam
