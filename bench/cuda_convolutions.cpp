#include "bench/cuda_convolutions.h"

#include <fmt/format.h>

#include <array>

#include "bench/convolution_call.h"

namespace macadam::bench {

namespace {

ConvolutionCase make_case(const std::string& direction, const ConvDesc& desc) {
  ConvolutionCase result;
  result.name = fmt::format("convolution_{}/{}->{}/{}x{}/filter:{}", direction, desc.input.c,
                            desc.out_channels, desc.input.h, desc.input.w, desc.kernel_h);
  result.flops = 2.0 * static_cast<double>(desc.macs());
  result.make = [direction, desc](Workbench& w) { return convolution_call(w, desc, direction); };
  return result;
}

}  // namespace

std::vector<ConvolutionCase> convolution_cases(const Extents& extents, DType dtype) {
  struct Layer {
    int in, out, scale;  // of the image's size
  };
  constexpr std::array<Layer, 8> kLayers{{
      {64, 64, 1},
      {64, 128, 2},
      {128, 128, 2},
      {256, 256, 4},
      {512, 512, 8},
      {512, 512, 16},
      {1024, 256, 16},
      {16, 16, 1},
  }};
  std::vector<ConvolutionCase> cases;
  // 8192 x 8192 x 8192: what the device can do at most.
  const ConvDesc product{.input = {1, 64, 128, 8192},
                         .out_channels = 8192,
                         .kernel_h = 1,
                         .kernel_w = 1,
                         .dtype = dtype};
  cases.push_back(make_case("forward", product));
  for (const Layer& layer : kLayers) {
    const ConvDesc desc{.input = {extents.batch, extents.height / layer.scale,
                                  extents.width / layer.scale, layer.in},
                        .out_channels = layer.out,
                        .padding = Padding::all(1),
                        .dtype = dtype,
                        .backward = true};
    for (const char* direction : kConvolutionDirections)
      cases.push_back(make_case(direction, desc));
  }
  return cases;
}

}  // namespace macadam::bench
