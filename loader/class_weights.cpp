#include "loader/class_weights.h"

#include <algorithm>
#include <cmath>
#include <functional>

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

std::vector<double> effective_number(const Classes& classes) {
  constexpr double kBeta = 0.999;
  std::vector<double> weights = for_present(classes, [](const ClassFrequency& c) {
    return (1 - kBeta) / (1 - std::pow(kBeta, static_cast<double>(c.images)));
  });
  double sum = 0;
  for (const double w : weights) sum += w;
  const auto present =
      static_cast<double>(std::ranges::count_if(weights, [](double w) { return w > 0; }));
  for (double& w : weights) w *= sum > 0 ? present / sum : 0;
  return weights;
}

}  // namespace

std::string_view name_of(ClassWeighting weighting) {
  switch (weighting) {
    case ClassWeighting::enet: return "enet";
    case ClassWeighting::median_frequency: return "median_frequency";
    case ClassWeighting::effective_number: break;
  }
  return "effective_number";
}

std::vector<double> class_weights(ClassWeighting weighting, const Classes& classes) {
  switch (weighting) {
    case ClassWeighting::enet: return enet(classes);
    case ClassWeighting::median_frequency: return median_frequency(classes);
    case ClassWeighting::effective_number: break;
  }
  return effective_number(classes);
}

}  // namespace macadam
