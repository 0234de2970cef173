#pragma once
// The registry of networks: each is a function that builds a graph for one input shape.

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/graph/graph.h"
#include "kernels/augment.h"

namespace macadam {

/// Everything that decides a network's parameters.
struct NetworkSpec {
  std::string name = "unet_mini";
  int classes = 8;
  std::map<std::string, std::string> options;  // `network.KEY` of a config
};

/// An option of a network: its key, default and meaning.
struct NetworkOption {
  std::string_view key, default_value, description;
};

enum class Task : uint8_t { segmentation, classification };

/// Whose weight files a network reads by name (models/weight_names.h).
enum class NetworkFamily : uint8_t {
  macadam,         // its own
  smp,             // torchvision, timm and segmentation_models.pytorch
  keras_sm,        // segmentation_models (Keras)
  keras_by_order,  // image-segmentation-keras, which leaves layers unnamed
  authors,         // their own, in PyTorch
};

/// How a tool calls the layers of a network's encoder, or of a whole network.
struct EncoderNames {
  std::string tool;  // "torchvision", for people
  /// The tool's layer for Macadam's ("layer1.0.conv1", of an encoder without its prefix); nothing
  /// where it has none.
  std::function<std::optional<std::string>(std::string_view layer)> layer;
  bool keras = false;  // "LAYER/kernel" for "LAYER.weight"
  /// Network options that make the network compute what the tool computes.
  std::map<std::string, std::string> options{};
  Normalization normalization{};  // that the tool's pretrained weights expect
  /// Where these are timm's, what stands before them in segmentation_models.pytorch's Unet upon its
  /// encoder ("tu-seresnet50").
  std::string unet_prefix{};
  /// Parameters that the tool's network has not: as if they were 0.
  std::vector<std::string_view> zeros{};
};

/// Which part of a network its parameters are of, by the beginnings of their names; the rest is the
/// decoder.
struct NetworkParts {
  std::vector<std::string_view> encoder{"encoder."};
  std::vector<std::string_view> head{"segmentation_head.", "head.", "fc.", "_fc.", "classifier.6."};
  /// An auxiliary head of its authors', which takes the place of the general one
  /// (models/auxiliary_head.h): build() makes it where `network.auxiliary` is positive.
  std::vector<std::string_view> auxiliary{};
};

struct NetworkEntry {
  std::string name;
  std::string_view summary;
  int size_multiple = 1;  // height and width must be multiples of it
  int minimum_size = 1;   // and not below this
  std::span<const NetworkOption> options{};
  /// Requires checked options and an accepted size.
  std::function<Graph(const NetworkSpec& spec, Shape input)> build;
  NetworkFamily family = NetworkFamily::macadam;
  Task task = Task::segmentation;
  /// Mean IoU on the validation split of Cityscapes, 19 classes, single scale, as published, and by
  /// whom; empty where there is none.
  std::string_view published{};
  Normalization normalization{};  // of the images, as pretrained weights of the family expect it
  /// How tools call the encoder of a network of family smp, those first whose names it has.
  std::vector<EncoderNames> encoder_names{};
  /// How other tools call all of its layers.
  std::vector<EncoderNames> layer_names{};
  NetworkParts parts{};
};

/// All networks.
std::span<const NetworkEntry> networks();

/// The options of a network, those that all have among them.
std::vector<NetworkOption> options_of(const NetworkEntry& entry);

/// Throws InputError with the nearest valid name when there is no such network.
const NetworkEntry& find_network(std::string_view name);

/// The same for a network that can be trained here. Throws InputError for a classifier.
const NetworkEntry& find_segmentation_network(std::string_view name);

/// The graph of `spec` for an NxHxWxC input. Throws InputError naming the network, the offending
/// option or size, and what is accepted.
Graph build_network(const NetworkSpec& spec, Shape input);

/// Throws InputError unless the option is "true" or "false".
bool bool_option(const NetworkSpec& spec, const NetworkOption& option);

/// The index of the option's value among `choices`; throws InputError when it is none of them.
size_t choice_option(const NetworkSpec& spec, const NetworkOption& option,
                     std::span<const std::string_view> choices);

/// The value of a floating-point option within [low, high]; throws InputError otherwise.
float float_option(const NetworkSpec& spec, const NetworkOption& option, float low, float high);

}  // namespace macadam
