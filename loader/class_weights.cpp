#include "loader/class_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "base/error.h"

namespace macadam {

namespace {

using Classes = std::vector<ClassFrequency>;

std::vector<double> for_present(const Classes& classes,
                                const std::function<double(const ClassFrequency&)>& weight) {
  std::vector<double> weights;
  for (const ClassFrequency& c : classes) weights.push_back(c.pixels > 0 ? weight(c) : 0.0);
  return weights;
}

std::vector<double> enet(const Classes& classes) {
  double all = 0;
  for (const ClassFrequency& c : classes) all += static_cast<double>(c.pixels);
  return for_present(classes, [all](const ClassFrequency& c) {
    return 1 / std::log(1.02 + static_cast<double>(c.pixels) / all);
  });
}

double frequency(const ClassFrequency& c) {
  return static_cast<double>(c.pixels) / static_cast<double>(c.image_pixels);
}

std::vector<double> median_frequency(const Classes& classes) {
  std::vector<double> frequencies;
  for (const ClassFrequency& c : classes) {
    if (c.pixels > 0) frequencies.push_back(frequency(c));
  }
  std::sort(frequencies.begin(), frequencies.end());
  const size_t count = frequencies.size();
  const double median =
      count == 0 ? 0 : (frequencies[(count - 1) / 2] + frequencies[count / 2]) / 2;
  return for_present(classes, [median](const ClassFrequency& c) { return median / frequency(c); });
}

std::vector<double> effective_number(const Classes& classes, double beta) {
  std::vector<double> weights = for_present(classes, [beta](const ClassFrequency& c) {
    return (1 - beta) / (1 - std::pow(beta, static_cast<double>(c.images)));
  });
  double sum = 0;
  for (const double w : weights) sum += w;
  const auto present =
      static_cast<double>(std::ranges::count_if(weights, [](double w) { return w > 0; }));
  for (double& w : weights) w *= sum > 0 ? present / sum : 0;
  return weights;
}

std::vector<double> balanced(const Classes& classes, double cap) {
  double all = 0, present = 0;
  for (const ClassFrequency& c : classes) {
    all += static_cast<double>(c.pixels);
    present += c.pixels > 0 ? 1 : 0;
  }
  return for_present(classes, [=](const ClassFrequency& c) {
    return std::min(cap, all / (present * static_cast<double>(c.pixels)));
  });
}

constexpr std::array<double, kCityscapesWeights> kCityscapes{
    0.8373, 0.9180, 0.8660, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023,
    0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507};

constexpr std::array<std::string_view, 5> kNames{"enet", "median_frequency", "effective_number",
                                                 "balanced", "cityscapes"};

}  // namespace

std::span<const std::string_view> class_weighting_names() { return kNames; }

std::string_view name_of(ClassWeighting weighting) {
  return kNames.at(static_cast<size_t>(weighting));
}

std::vector<double> class_weights(ClassWeighting weighting, const Classes& classes,
                                  const ClassWeightingOptions& options) {
  switch (weighting) {
    case ClassWeighting::enet: return enet(classes);
    case ClassWeighting::median_frequency: return median_frequency(classes);
    case ClassWeighting::effective_number: return effective_number(classes, options.beta);
    case ClassWeighting::balanced: return balanced(classes, options.cap);
    case ClassWeighting::cityscapes: break;
  }
  require(classes.size() == kCityscapes.size(), "cityscapes has weights of 19 classes");
  return {kCityscapes.begin(), kCityscapes.end()};
}

}  // namespace macadam
