#include "models/weight_import.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_set>

#include "base/text.h"
#include "base/to_size.h"
#include "models/auxiliary_head.h"

namespace macadam {

namespace {

/// Where a scheme's names are found in a file: its tensors are called PREFIX + the scheme's names.
struct Match {
  const WeightScheme* scheme = nullptr;
  std::string prefix;
  int64_t elements = 0;  // loaded
};

/// The shape that `p` has in a file of the scheme.
TensorShape stored_shape(const ParameterSpec& p, bool keras) {
  TensorShape own = p.file_shape();
  if (!keras || own.size() != 4) return own;
  const bool depthwise = own[1] == 1 && own[0] > 1;
  return depthwise ? TensorShape{own[2], own[3], own[0], 1}
                   : TensorShape{own[2], own[3], own[1], own[0]};
}

/// A fully connected layer is stored as a matrix, and is a convolution here.
bool fits(const TensorShape& found, const ParameterSpec& p, bool keras) {
  const TensorShape wanted = stored_shape(p, keras);
  if (found == wanted) return true;
  if (found.size() != 2 || wanted.size() != 4) return false;
  TensorShape own = p.file_shape();
  const TensorShape matrix = keras ? TensorShape{own[1] * own[2] * own[3], own[0]}
                                   : TensorShape{own[0], own[1] * own[2] * own[3]};
  return found == matrix && (!keras || own[2] * own[3] == 1);
}

/// What may stand before the scheme's names in the file, "module.net." for one: what stands before
/// a few of them, the shortest first.
std::vector<std::string> prefixes_of(const WeightScheme& scheme, const WeightFile& file) {
  constexpr size_t kNames = 4, kMost = 16;
  std::set<std::string_view> wanted;
  const size_t step = std::max<size_t>(scheme.source.size() / kNames, 1);
  size_t number = 0;
  for (const auto& [parameter, name] : scheme.source) {
    if (number++ % step == 0) wanted.insert(name);
  }
  std::vector<std::string> found{""};
  std::unordered_set<std::string_view> seen;
  for (const WeightTensor& tensor : file.tensors()) {
    const std::string_view name = tensor.name;
    for (const std::string_view ending : wanted) {
      if (name.size() <= ending.size() || !name.ends_with(ending)) continue;
      const std::string_view before = name.substr(0, name.size() - ending.size());
      if (before.ends_with('.') && seen.insert(before).second) found.emplace_back(before);
    }
  }
  std::ranges::stable_sort(found, {}, &std::string::size);
  found.resize(std::min(found.size(), kMost));
  return found;
}

Match best_match(const WeightFile& file, std::span<const WeightScheme> schemes,
                 const Graph& graph) {
  Match best;
  for (const WeightScheme& scheme : schemes) {
    if (scheme.keras != file.keras()) continue;
    for (const std::string& prefix : prefixes_of(scheme, file)) {
      Match match{&scheme, prefix, 0};
      for (const ParameterSpec& p : graph.parameters()) {
        const auto source = scheme.source.find(p.name);
        if (source == scheme.source.end()) continue;
        const auto tensor = file.find(match.prefix + source->second);
        if (tensor && fits(file.tensors()[*tensor].shape, p, scheme.keras)) {
          match.elements += p.shape.elements();
        }
      }
      if (match.elements > best.elements) best = match;
    }
  }
  return best;
}

/// Kernels from Keras's {h, w, C, K} (depthwise {h, w, C, 1}) to {K, C, h, w}.
void from_keras(const ParameterSpec& p, std::span<const float> from, std::span<float> to) {
  TensorShape own = p.file_shape();
  const int64_t k_count = own[0], c_count = own[1], pixels = own[2] * own[3];
  // A depthwise kernel's C and 1 lie as K does: the same walk serves, with C = 1.
  for (int64_t k = 0; k < k_count; ++k) {
    for (int64_t c = 0; c < c_count; ++c) {
      for (int64_t i = 0; i < pixels; ++i) {
        to[to_size((k * c_count + c) * pixels + i)] =
            from[to_size((i * c_count + c) * k_count + k)];
      }
    }
  }
}

std::string some(const std::vector<std::string>& names) {
  constexpr size_t kShown = 3;
  std::vector<std::string> shown(names.begin(),
                                 names.begin() + static_cast<long>(std::min(names.size(), kShown)));
  for (std::string& name : shown) name = quote(name);
  return joined(shown) +
         (names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "");
}

/// The tensor of the file that is called as a decoder's parameter of the network, with something or
/// nothing before it, if any is among `unused`.
const std::string* decoder_among(const NetworkEntry& entry, const std::vector<std::string>& unused,
                                 std::span<const ParameterSpec> parameters) {
  for (const ParameterSpec& p : parameters) {
    if (part_of(entry, p) != WeightPart::decoder) continue;
    const auto found = std::ranges::find_if(unused, [&](std::string_view name) {
      return name == p.name || name.ends_with("." + p.name);
    });
    if (found != unused.end()) return &*found;
  }
  return nullptr;
}

/// The network as other tools know it.
Graph without_our_auxiliary_head(NetworkSpec spec, const Graph& graph) {
  if (!find_network(spec.name).parts.auxiliary.empty()) return graph;
  spec.options.erase(std::string(kAuxiliaryOption.key));
  return build_network(spec, graph.shape(graph.input()));
}

/// The smallest image that all networks take.
Graph probe(const NetworkEntry& entry) {
  const int classes = entry.task == Task::classification ? 1000 : 8;
  const int side = entry.task == Task::classification ? 224 : 64;
  return build_network({std::string(entry.name), classes, {}}, {1, side, side, 3});
}

}  // namespace

std::string summary_of(std::span<const WeightTensor> tensors) {
  constexpr size_t kShown = 3;
  std::vector<std::string> first;
  for (const WeightTensor& tensor : tensors.first(std::min(tensors.size(), kShown))) {
    first.push_back(fmt::format("{} {}", quote(tensor.name), text_of(tensor.shape)));
  }
  return fmt::format("{} tensors, the first {}", tensors.size(), joined(first));
}

namespace {

/// The network of a task that a file holds most of, and how many of its elements; none if no
/// network is whole.
struct Likeness {
  std::string network;
  int64_t elements = 0;
};
Likeness likeness(const WeightFile& file, Task task) {
  constexpr double kEnough = 0.95;  // of the network, or of its encoder
  Likeness best;
  for (const NetworkEntry& entry : networks()) {
    if (entry.task != task) continue;
    const Graph graph = probe(entry);
    const std::vector<WeightScheme> schemes = weight_schemes(entry, graph, file.tensors());
    int64_t wanted = 0, encoder = 0;
    for (const ParameterSpec& p : graph.parameters()) {
      wanted += p.shape.elements();
      encoder += p.encoder && !p.unused ? p.shape.elements() : 0;
    }
    if (encoder > 0) wanted = encoder;
    const Match match = best_match(file, schemes, graph);
    if (static_cast<double>(match.elements) >= kEnough * static_cast<double>(wanted) &&
        match.elements > best.elements) {
      best = {entry.name, match.elements};
    }
  }
  return best;
}

}  // namespace

std::string network_of(const WeightFile& file, Task task) { return likeness(file, task).network; }

WeightImport::WeightImport(const std::filesystem::path& path, const NetworkSpec& spec,
                           const Graph& graph, bool partial)
    : file_(open_weights(path)), parameters_(graph.parameters()) {
  const NetworkEntry& entry = find_network(spec.name);
  const Graph plain = without_our_auxiliary_head(spec, graph);
  const std::vector<WeightScheme> schemes = weight_schemes(entry, plain, file_->tensors());
  const Match match = best_match(*file_, schemes, plain);
  // A search through all networks: made only where something does not fit.
  const auto looks_like = [&] {
    const std::string other = network_of(*file_, entry.task);
    return other.empty() || other == spec.name
               ? fmt::format("give weights of {}", spec.name)
               : fmt::format("they look like {}: use network = \"{}\", or other weights", other,
                             other);
  };
  if (match.scheme == nullptr) {
    throw InputError(fmt::format("no tensor of the file fits {} (it holds {})", spec.name,
                                 summary_of(file_->tensors())),
                     file_->name(), looks_like());
  }
  scheme_ = *match.scheme;
  report_ = {file_->name(), std::string(file_->format()), scheme_.name, 0, 0, 0, {}, {}, {}};

  std::set<size_t> used;
  std::vector<std::string> missing_encoder, missing_decoder, wrong;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const ParameterSpec& p = parameters_[i];
    if (p.role == ParameterRole::fixed_scale) continue;
    const auto source = scheme_.source.find(p.name);
    std::optional<size_t> tensor;
    if (source != scheme_.source.end()) {
      tensor = file_->find(match.prefix + source->second);
    } else if (p.name.starts_with(kAuxiliaryPrefix)) {  // in a file of our own
      tensor = file_->find(p.name);
    }
    const WeightPart part = part_of(entry, p);
    if (!tensor) {
      // Nothing would come of it, or it is what it should be: biases are 0 as initialised.
      if (p.unused || scheme_.zeros.contains(p.name)) continue;
      report_.missing.push_back(p.name);
      if (part == WeightPart::encoder) missing_encoder.push_back(p.name);
      if (part == WeightPart::decoder) missing_decoder.push_back(p.name);
      continue;
    }
    used.insert(*tensor);
    if (!fits(file_->tensors()[*tensor].shape, p, scheme_.keras)) {
      if (part == WeightPart::head) {
        report_.reinitialized.push_back(p.name);
      } else {
        wrong.push_back(p.name);
      }
      continue;
    }
    assignments_.push_back({i, *tensor});
    ++(part == WeightPart::encoder   ? report_.encoder_loaded
       : part == WeightPart::decoder ? report_.decoder_loaded
                                     : report_.head_loaded);
  }
  for (size_t i = 0; i < file_->tensors().size(); ++i) {
    const std::string& name = file_->tensors()[i].name;
    if (used.count(i) == 0 && !name.ends_with("num_batches_tracked") &&
        !name.starts_with("optimizer.")) {
      report_.unused.push_back(name);
    }
  }

  // A larger sister's file holds all that this network asks for, and more: ResNet34's for ResNet18,
  // or SwiftNet's for the UNet upon its encoder. image-segmentation-keras' networks are nobody's
  // sisters but their own: keras_vgg_unet takes four of VGG16's five blocks.
  if (!report_.unused.empty()) {
    const Likeness other = likeness(*file_, entry.task);
    const bool kin =
        entry.family != NetworkFamily::keras_by_order && other.elements > match.elements;
    if (!other.network.empty() && other.network != spec.name &&
        (kin || find_network(other.network).family == entry.family)) {
      throw InputError(fmt::format("weights of another network than {}", spec.name), file_->name(),
                       looks_like());
    }
  }
  if (!wrong.empty()) {
    throw InputError(fmt::format("tensors of a wrong shape: {}", some(wrong)), file_->name(),
                     looks_like());
  }
  if (partial) return;
  if (!missing_encoder.empty()) {
    throw InputError(fmt::format("the encoder is incomplete: {} missing", some(missing_encoder)),
                     file_->name(),
                     looks_like() + ", or load what fits by macadam convert --partial");
  }
  // A whole network whose encoder alone has the names of a tool. That its sizes are the same says
  // nothing of its paddings and taps: tu-legacy_xception's are others than xception's.
  if (report_.decoder_loaded == 0) {
    if (const std::string* decoder = decoder_among(entry, report_.unused, parameters_)) {
      throw InputError(
          fmt::format("the decoder ({}) is of another network than {}: the encoder's "
                      "names begin with {} here",
                      quote(*decoder), spec.name, quote(match.prefix)),
          file_->name(),
          "take the encoder alone by macadam convert --partial, or give weights of " + spec.name);
    }
  }
  const bool whole_network = report_.encoder_loaded == 0;
  if (!missing_decoder.empty() && (report_.decoder_loaded > 0 || whole_network)) {
    throw InputError(fmt::format("the decoder is incomplete: {} missing", some(missing_decoder)),
                     file_->name(),
                     looks_like() + ", or load what fits by macadam convert --partial");
  }
}

void WeightImport::for_each(
    const std::function<void(size_t, std::span<const float>, bool)>& use) const {
  std::vector<float> stored, turned;
  for (const Assignment& a : assignments_) {
    const ParameterSpec& p = parameters_[a.parameter];
    const auto view = file_->view(a.tensor);
    std::span<const float> values;
    if (view) {
      values = *view;
    } else {
      stored.resize(to_size(elements(file_->tensors()[a.tensor].shape)));
      file_->read(a.tensor, stored);
      values = stored;
    }
    check_finite(values, file_->name(), file_->tensors()[a.tensor].name);
    const bool turns = scheme_.keras && p.role == ParameterRole::conv_weight;
    if (turns) {
      turned.resize(values.size());
      from_keras(p, values, turned);
      values = turned;
    }
    use(a.parameter, values, view && !turns);
  }
}

std::string ImportReport::text() const {
  std::string out = fmt::format(
      "{}: {} file, names of {}; loaded {} encoder, {} decoder and {} "
      "head tensors\n",
      file, format, scheme, encoder_loaded, decoder_loaded, head_loaded);
  if (!missing.empty()) {
    out += fmt::format("  {} not in the file, left as initialised: {}\n", missing.size(),
                       some(missing));
  }
  if (!reinitialized.empty()) {
    out += fmt::format("  the head has other classes in the file, and starts anew: {}\n",
                       some(reinitialized));
  }
  if (!unused.empty()) {
    out +=
        fmt::format("  {} tensors of the file have no use here: {}\n", unused.size(), some(unused));
  }
  return out;
}

}  // namespace macadam
