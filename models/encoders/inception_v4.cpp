// Inception-v4 (Szegedy et al., 2017), named as in Cadene's pretrained-models.pytorch, with the
// paddings and taps of segmentation_models.pytorch.

#include <array>

#include "models/encoders/inception.h"

namespace macadam {

namespace {

class Body : public InceptionBuilder {
 public:
  using InceptionBuilder::InceptionBuilder;

  Value mixed_3a(Value x, const std::string& name) const {
    return concat({max_pool(x), conv(x, name + ".conv", {96, 3, 3, 2})});
  }

  Value mixed_4a(Value x, const std::string& name) const {
    return concat({branch(x, name + ".branch0", {{64}, {96, 3, 3}}),
                   branch(x, name + ".branch1", {{64}, {64, 1, 7}, {64, 7, 1}, {96, 3, 3}})});
  }

  Value mixed_5a(Value x, const std::string& name) const {
    return concat({conv(x, name + ".conv", {192, 3, 3, 2}), max_pool(x)});
  }

  Value inception_a(Value x, const std::string& name) const {
    return concat({conv(x, name + ".branch0", {96}),
                   branch(x, name + ".branch1", {{64}, {96, 3, 3}}),
                   branch(x, name + ".branch2", {{64}, {96, 3, 3}, {96, 3, 3}}),
                   pooled_branch(x, name + ".branch3", 96)});
  }

  Value reduction_a(Value x, const std::string& name) const {
    return concat({conv(x, name + ".branch0", {384, 3, 3, 2}),
                   branch(x, name + ".branch1", {{192}, {224, 3, 3}, {256, 3, 3, 2}}),
                   max_pool(x)});
  }

  Value inception_b(Value x, const std::string& name) const {
    return concat(
        {conv(x, name + ".branch0", {384}),
         branch(x, name + ".branch1", {{192}, {224, 1, 7}, {256, 7, 1}}),
         branch(x, name + ".branch2", {{192}, {192, 7, 1}, {224, 1, 7}, {224, 7, 1}, {256, 1, 7}}),
         pooled_branch(x, name + ".branch3", 128)});
  }

  Value reduction_b(Value x, const std::string& name) const {
    return concat({branch(x, name + ".branch0", {{192}, {192, 3, 3, 2}}),
                   branch(x, name + ".branch1", {{256}, {256, 1, 7}, {320, 7, 1}, {320, 3, 3, 2}}),
                   max_pool(x)});
  }

  /// Two of its branches fork.
  Value inception_c(Value x, const std::string& name) const {
    const Value row = conv(x, name + ".branch1_0", {384});
    Value deep = conv(x, name + ".branch2_0", {384});
    deep = conv(deep, name + ".branch2_1", {448, 3, 1});
    deep = conv(deep, name + ".branch2_2", {512, 1, 3});
    return concat({conv(x, name + ".branch0", {256}), conv(row, name + ".branch1_1a", {256, 1, 3}),
                   conv(row, name + ".branch1_1b", {256, 3, 1}),
                   conv(deep, name + ".branch2_3a", {256, 1, 3}),
                   conv(deep, name + ".branch2_3b", {256, 3, 1}),
                   pooled_branch(x, name + ".branch3", 256)});
  }
};

/// The taps are the image and features 2, 4, 8, 14 and 21, two of them within a stage: 64, 192,
/// 384, 1024 and 1536 channels.
Features inception_v4(Graph& g, Value image, const std::string& prefix) {
  using Module = Value (Body::*)(Value, const std::string&) const;
  constexpr Module kA = &Body::inception_a, kB = &Body::inception_b, kC = &Body::inception_c;
  constexpr std::array<Module, 19> kModules{
      &Body::mixed_3a,
      &Body::mixed_4a,
      &Body::mixed_5a,  // 3 to 5
      kA,
      kA,
      kA,
      kA,
      &Body::reduction_a,  // 6 to 10
      kB,
      kB,
      kB,
      kB,
      kB,
      kB,
      kB,
      &Body::reduction_b,
      kC,
      kC,
      kC,  // 11 to 21
  };
  const Body body(g);
  Value x = body.branch(image, prefix + "features", {{32, 3, 3, 2}, {32, 3, 3}, {64, 3, 3}});
  Features features{image, x};
  int number = 3;
  for (const Module module : kModules) {
    x = (body.*module)(x, fmt::format("{}features.{}", prefix, number));
    if (number == 4 || number == 8 || number == 14 || number == 21) features.push_back(x);
    ++number;
  }
  return features;
}

}  // namespace

std::vector<Encoder> inception_v4_encoders() {
  EncoderNames cadene = own_names("Cadene, timm");
  cadene.normalization = kMinusOneToOne;
  return {{.name = "inception_v4",
           .summary = "Inception-v4 encoder",
           .features = [](Graph& g, Value image, const std::string& prefix,
                          const NetworkSpec&) { return inception_v4(g, image, prefix); },
           .names = {std::move(cadene)},
           .normalization = kMinusOneToOne}};
}

}  // namespace macadam
