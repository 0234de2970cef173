#include "engine/plan/parameters.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "base/round_up.h"
#include "base/to_size.h"
#include "kernels/scalar/philox.h"

namespace macadam {

namespace {

constexpr int64_t kAlignment = 64;  // elements

/// FNV-1a, so that a parameter's stream of random numbers depends on its name alone.
uint64_t hash(std::string_view text) {
  uint64_t h = 1469598103934665603u;
  for (char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

/// Uniform numbers in (0, 1] from Philox keyed on the seed.
class UniformStream {
 public:
  UniformStream(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  double next() {
    if (lane_ == 4) {
      lane_ = 0;
      block_ = scalar::philox({{block_index_++, 0, static_cast<uint32_t>(stream_),
                                static_cast<uint32_t>(stream_ >> 32)}},
                              static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32));
    }
    return (static_cast<double>(block_.word[lane_++]) + 1.0) * 0x1p-32;
  }

 private:
  uint64_t seed_, stream_;
  uint32_t block_index_ = 0;
  int lane_ = 4;
  scalar::PhiloxBlock block_{};
};

}  // namespace

std::vector<float> initial_values(const ParameterSpec& spec, uint64_t seed) {
  std::vector<float> values(to_size(spec.shape.elements()), 0.0f);
  if (spec.role == ParameterRole::norm_scale || spec.role == ParameterRole::running_var ||
      spec.role == ParameterRole::fixed_scale) {
    values.assign(values.size(), 1.0f);
  }
  if (spec.role != ParameterRole::conv_weight) return values;

  const double window = static_cast<double>(spec.shape.h) * spec.shape.w;
  const double fan_in = window * spec.shape.c, fan_out = window * spec.shape.n;
  UniformStream uniform(seed, hash(spec.name));
  if (spec.init == Init::glorot_uniform) {
    const double limit = std::sqrt(6.0 / (fan_in + fan_out));
    for (float& v : values) v = static_cast<float>((2 * uniform.next() - 1) * limit);
    return values;
  }
  const double sigma = std::sqrt(2.0 / fan_in);
  for (float& v : values) {  // Box and Muller, 1958
    const double radius = std::sqrt(-2 * std::log(uniform.next()));
    const double angle = 2 * std::numbers::pi * uniform.next();
    v = static_cast<float>(sigma * radius * std::cos(angle));
  }
  return values;
}

Parameters::Parameters(std::span<const ParameterSpec> specs, Stream& stream, bool training)
    : specs_(specs.begin(), specs.end()), stream_(stream) {
  int64_t elements = 0;
  for (const ParameterSpec& spec : specs_) {
    offsets_.push_back(elements);
    elements += round_up(spec.shape.elements(), kAlignment);
  }
  const size_t bytes = to_size(elements) * sizeof(float);
  const auto zeroed = [&] {
    Buffer buffer(stream.device(), bytes);
    zero_bytes(stream, buffer.data(), bytes);
    return buffer;
  };
  values_ = zeroed();
  if (training) gradients_ = zeroed();
}

const Buffer& Parameters::buffer_of(Field field) const {
  const Buffer& buffer = field == Field::value ? values_ : gradients_;
  require(static_cast<bool>(buffer), "the parameters have the field");
  return buffer;
}

float* Parameters::field_data(Field field, size_t index) const {
  require(index < specs_.size(), "a parameter's index");
  return reinterpret_cast<float*>(buffer_of(field).data()) + offsets_[index];
}

Tensor Parameters::flat(Field field) const {
  const Buffer& buffer = buffer_of(field);
  const auto elements = buffer.bytes() / sizeof(float);
  require(elements <= to_size(std::numeric_limits<int>::max()), "fewer than 2^31 parameters");
  return Tensor(buffer.data(), {1, 1, 1, static_cast<int>(elements)}, DType::f32, stream_.device());
}

Tensor Parameters::value(size_t index) const {
  return Tensor(field_data(Field::value, index), specs_[index].shape, DType::f32, stream_.device());
}

Tensor Parameters::gradient(size_t index) const {
  if (!training() || !specs_[index].trainable()) return {};
  return Tensor(field_data(Field::gradient, index), specs_[index].shape, DType::f32,
                stream_.device());
}

void Parameters::initialize(uint64_t seed) {
  for (size_t i = 0; i < specs_.size(); ++i) {
    write(i, Field::value, initial_values(specs_[i], seed));
  }
}

std::vector<float> Parameters::read(size_t index, Field field) const {
  const ParameterSpec& spec = specs_[index];
  std::vector<float> values(to_size(spec.shape.elements()));
  copy_bytes(stream_, values.data(), field_data(field, index), values.size() * sizeof(float));
  stream_.synchronize();
  if (spec.role != ParameterRole::conv_weight) return values;
  std::vector<float> transposed(values.size());
  ohwi_to_oihw(spec.file_shape(), values, transposed);
  return transposed;
}

void Parameters::write(size_t index, Field field, std::span<const float> values) {
  const ParameterSpec& spec = specs_[index];
  require(values.size() == to_size(spec.shape.elements()), "one value an element");
  std::vector<float> engine(values.begin(), values.end());
  if (spec.role == ParameterRole::conv_weight) {
    oihw_to_ohwi(spec.file_shape(), values, engine);
  }
  copy_bytes(stream_, field_data(field, index), engine.data(), engine.size() * sizeof(float));
  stream_.synchronize();  // `engine` dies here
}

std::vector<ParameterSegment> Parameters::segments(float weight_decay,
                                                   std::span<const float> lr_scales) const {
  require(lr_scales.empty() || lr_scales.size() == specs_.size(), "one scale a parameter");
  std::vector<ParameterSegment> segments;
  for (size_t i = 0; i < specs_.size(); ++i) {
    ParameterSegment segment{.offset = offsets_[i], .count = specs_[i].shape.elements()};
    if (specs_[i].role == ParameterRole::conv_weight) segment.weight_decay = weight_decay;
    if (!lr_scales.empty()) segment.lr_scale = lr_scales[i];
    if (!specs_[i].trainable()) segment.lr_scale = 0;
    segments.push_back(segment);
  }
  return segments;
}

size_t Parameters::bytes() const { return values_.bytes() + gradients_.bytes(); }

ParameterShapes shapes_of(const Parameters& parameters) {
  ParameterShapes shapes;
  for (const ParameterSpec& spec : parameters.specs()) shapes[spec.name] = spec.file_shape();
  return shapes;
}

void load_parameters(const Model& model, Parameters& parameters, std::string_view file) {
  match_parameters(shapes_of(parameters), model.parameters, file);
  for (size_t i = 0; i < parameters.size(); ++i) {
    parameters.write(i, Parameters::Field::value,
                     model.parameters.at(parameters.specs()[i].name).values);
  }
}

}  // namespace macadam
