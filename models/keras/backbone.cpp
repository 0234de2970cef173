#include "models/keras/backbone.h"

namespace macadam {

Padding same_padding(Shape image, int rows, int columns, int stride) {
  const Padding across = same_padding(image.h, image.w, columns, stride);
  const Padding down = same_padding(image.h, image.w, rows, stride);
  return {across.left, across.right, down.top, down.bottom};
}

ConvLayer same_conv(Shape x, int channels, int kernel, int stride) {
  ConvLayer conv = plain_conv(channels, kernel, stride);
  conv.padding = same_padding(x, kernel, kernel, stride);
  return conv;
}

ConvLayer same_depthwise_conv(Shape x, int kernel, int stride) {
  ConvLayer conv = same_conv(x, x.c, kernel, stride);
  conv.groups = x.c;
  return conv;
}

}  // namespace macadam
