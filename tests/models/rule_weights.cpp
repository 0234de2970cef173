#include "tests/models/rule_weights.h"

#include <cmath>

#include "base/to_size.h"

namespace macadam::testing {

namespace {

uint64_t hash(std::string_view name) {  // FNV-1a
  uint64_t h = 1469598103934665603u;
  for (char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

uint64_t mix(uint64_t h, uint64_t i) {
  uint64_t z = h + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

double number(uint64_t bits) { return 2 * (static_cast<double>(bits >> 40) * 0x1p-24) - 1; }

}  // namespace

uint64_t rule_bits(std::string_view name, uint64_t i) { return mix(hash(name), i); }
double rule_number(std::string_view name, uint64_t i) { return number(rule_bits(name, i)); }

std::vector<float> rule_values(const ParameterSpec& spec, double gain, double norm_shift) {
  double base = 0, factor = 0.1;
  switch (spec.role) {
    case ParameterRole::conv_weight:
      factor = gain * std::sqrt(6.0 / static_cast<double>(spec.shape.elements() / spec.shape.n));
      break;
    case ParameterRole::norm_scale: base = 1; break;
    case ParameterRole::running_var: base = 1, factor = 0.2; break;
    case ParameterRole::fixed_scale: base = 1, factor = 0; break;
    case ParameterRole::norm_shift: base = norm_shift; break;
    case ParameterRole::bias:
    case ParameterRole::running_mean: break;
  }
  std::vector<float> values(to_size(spec.shape.elements()));
  const uint64_t h = hash(spec.name);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(base + number(mix(h, i)) * factor);
  }
  return values;
}

void set_rule_values(Parameters& parameters, double gain, double norm_shift) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    parameters.write(i, Parameters::Field::value,
                     rule_values(parameters.specs()[i], gain, norm_shift));
  }
}

std::vector<float> rule_image(Shape shape) {
  std::vector<float> values(to_size(shape.elements()));
  const uint64_t h = hash("input");
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(2 * number(mix(h, i)));
  return values;
}

std::vector<uint8_t> rule_labels(int64_t pixels) {
  std::vector<uint8_t> labels(to_size(pixels));
  const uint64_t h = hash("labels");
  for (size_t i = 0; i < labels.size(); ++i) {
    labels[i] = i % 17 == 0 ? 255 : static_cast<uint8_t>((mix(h, i) >> 40) % 8);
  }
  return labels;
}

}  // namespace macadam::testing
