#include "kernels/cuda/cudnn/operations.h"

#include <array>

namespace macadam::cuda {

namespace {

cudnnDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return CUDNN_DATA_FLOAT;
    case DType::bf16: return CUDNN_DATA_BFLOAT16;
    case DType::f16: return CUDNN_DATA_HALF;
    case DType::u8: break;
  }
  throw std::logic_error("requirement violated: a floating-point dtype");
}

/// A dense tensor of channels-last memory. cuDNN names dimensions in NCHW order whatever the
/// layout, so the NHWC layout shows in the strides alone; weights {K,R,S,C} are {n,h,w,c} here.
Descriptor tensor(Uid uid, const Shape& shape, DType dtype, bool is_virtual = false) {
  const int64_t n = shape.n, h = shape.h, w = shape.w, c = shape.c;
  Descriptor descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, static_cast<int64_t>(uid))
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, data_type(dtype))
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kOperandAlignment)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::array<int64_t, 4>{n, c, h, w})
      .set(CUDNN_ATTR_TENSOR_STRIDES, std::array<int64_t, 4>{h * w * c, 1, w * c, c})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual)
      .finalize();
  return descriptor;
}

Descriptor convolution(const ConvDesc& desc) {
  Descriptor descriptor(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const int64_t stride = desc.stride, dilation = desc.dilation;
  const Padding& pad = desc.padding;
  descriptor.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::array<int64_t, 2>{pad.top, pad.left})
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, std::array<int64_t, 2>{pad.bottom, pad.right})
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::array<int64_t, 2>{stride, stride})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::array<int64_t, 2>{dilation, dilation})
      .finalize();
  return descriptor;
}

/// y = x + b, or y = relu(x) without b.
void pointwise(Operations& ops, cudnnPointwiseMode_t mode, const Descriptor& x, const Descriptor* b,
               const Descriptor& y) {
  Descriptor math(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  math.set(CUDNN_ATTR_POINTWISE_MODE, mode)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_POINTWISE_NAN_PROPAGATION, CUDNN_PROPAGATE_NAN)
      .finalize();
  Descriptor operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, ops.keep(std::move(math)))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
  if (b != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
  ops.add(std::move(operation));
}

}  // namespace

Operations operations_of(const ConvDesc& desc, ConvPass pass) {
  const bool biased = pass == ConvPass::forward_bias || pass == ConvPass::forward_bias_relu;
  const bool relu = pass == ConvPass::forward_bias_relu;
  const Shape output = desc.output();
  Operations ops;
  const Descriptor& conv = ops.keep(convolution(desc));
  const Descriptor& x = ops.keep(tensor(uid_x, desc.input, desc.dtype));
  const Descriptor& w = ops.keep(tensor(uid_w, desc.weights(), desc.dtype));
  const Descriptor& y = ops.keep(tensor(uid_y, output, desc.dtype));

  if (pass == ConvPass::data) {
    Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, conv)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, y)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, 1.0f)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, 0.0f);
    ops.add(std::move(operation));
    return ops;
  }
  if (pass == ConvPass::weights) {
    Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, conv)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, y)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, x)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, w)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, 1.0f)
        .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, 0.0f);
    ops.add(std::move(operation));
    return ops;
  }

  // Between fused operations values stay in fp32.
  const Descriptor& sum = biased ? ops.keep(tensor(uid_conv, output, DType::f32, true)) : y;
  Descriptor operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
  operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, sum)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f)
      .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
  ops.add(std::move(operation));
  if (biased) {
    const Descriptor& bias = ops.keep(tensor(uid_bias, {1, 1, 1, desc.out_channels}, desc.dtype));
    const Descriptor& biased_sum =
        relu ? ops.keep(tensor(uid_biased, output, DType::f32, true)) : y;
    pointwise(ops, CUDNN_POINTWISE_ADD, sum, &bias, biased_sum);
    if (relu) pointwise(ops, CUDNN_POINTWISE_RELU_FWD, biased_sum, nullptr, y);
  }
  return ops;
}

}  // namespace macadam::cuda
