#include "kernels/epilogue.h"

#include "kernels/reference/activation.h"
#include "kernels/reference/array.h"
#include "kernels/reference/reference_ops.h"

namespace macadam::reference {
namespace {

class ReferenceEpilogueOps : public EpilogueOps {
 public:
  size_t workspace_bytes(Shape) const override { return 0; }

  void backward(const EpilogueDesc& desc, const EpilogueTensors& t, void*) override {
    const Shape shape = check_epilogue(desc, t);
    Array gradient = t.dy.data != nullptr ? Array(t.dy) : Array(shape);
    if (t.dpooled.data != nullptr) add_pooled(desc.pool.value(), t, gradient);
    const Array y = t.y.data != nullptr ? Array(t.y) : Array(shape);
    for (size_t i = 0; i < y.values().size(); ++i) {
      double& value = gradient.values()[i];
      value = gradient_from(desc.activation, y.values()[i], value) * double{desc.scale};
    }
    if (t.dz.data != nullptr) gradient.write(t.dz);
    if (t.dbias.data == nullptr) return;
    Array sums(Shape{1, 1, 1, shape.c});
    for_each(shape, [&](int n, int h, int w, int c) { sums[c] += gradient(n, h, w, c); });
    sums.write(t.dbias);
  }

 private:
  static void add_pooled(const PoolDesc& pool, const EpilogueTensors& t, Array& gradient) {
    const Array d_pooled(t.dpooled), chosen(t.index);
    for_each(t.dpooled.shape, [&](int n, int h, int w, int c) {
      const int position = static_cast<int>(chosen(n, h, w, c));
      const int ih = h * pool.stride_h - pool.padding.top + position / pool.kernel_w;
      const int iw = w * pool.stride_w - pool.padding.left + position % pool.kernel_w;
      gradient(n, ih, iw, c) += d_pooled(n, h, w, c);
    });
  }
};

}  // namespace

std::unique_ptr<EpilogueOps> make_epilogue_ops() {
  return std::make_unique<ReferenceEpilogueOps>();
}

}  // namespace macadam::reference
