#include "kernels/epilogue.h"

namespace macadam {

Shape check_epilogue(const EpilogueDesc& desc, const EpilogueTensors& t) {
  require(!gradient_reads_input(desc.activation), "epilogue: a gradient from the output");
  require(desc.activation == Activation::identity || t.y.data != nullptr, "epilogue: y is given");
  require(t.dy.data != nullptr || t.dpooled.data != nullptr, "epilogue: a gradient is given");
  const Tensor& any = t.dy.data != nullptr ? t.dy : t.dz.data != nullptr ? t.dz : t.y;
  for (const Tensor* tensor : {&t.y, &t.dy, &t.dz}) {
    require(tensor->data == nullptr || (tensor->shape == any.shape && tensor->dtype == any.dtype),
            "epilogue: y, dy and dz match");
  }
  if (t.dpooled.data != nullptr) {
    require(desc.pool.has_value() && !desc.pool->windows_overlap(),
            "epilogue: a pooling whose windows do not overlap");
    require(t.dpooled.shape == desc.pool->output(any.shape) && t.dpooled.dtype == any.dtype,
            "epilogue: dpooled is of the pooling's output");
    require(t.index.shape == t.dpooled.shape && t.index.dtype == DType::u8 && t.index.dense(),
            "epilogue: a dense index of dpooled's shape");
  }
  require(t.dz.data != nullptr || computes_nothing(desc, t), "epilogue: sums of dy itself, or dz");
  if (t.dbias.data != nullptr) {
    require(t.dbias.shape == Shape{1, 1, 1, any.shape.c} && t.dbias.dtype == DType::f32,
            "epilogue: one fp32 sum a channel");
  }
  return any.shape;
}

bool computes_nothing(const EpilogueDesc& desc, const EpilogueTensors& t) {
  return desc.activation == Activation::identity && desc.scale == 1 && t.dpooled.data == nullptr &&
         (t.dz.data == nullptr || t.dz.data == t.dy.data);
}

}  // namespace macadam
