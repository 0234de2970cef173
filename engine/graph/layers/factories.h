#pragma once
// One factory a layer kind, each in the file of its name.

#include "engine/graph/layer.h"

namespace macadam::layers {

std::unique_ptr<Layer> make(const ConvLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const BatchNormLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const ConvTransposeLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const ActivationLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const DropoutLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const DropPathLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const MaxPoolLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const AveragePoolLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const GlobalAveragePoolLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const GridAveragePoolLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const MultiplyLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const DotLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const ScaleLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const SqueezeExciteLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const UpsampleLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const ConcatLayer& layer, const LayerContext& context);
std::unique_ptr<Layer> make(const AddLayer& layer, const LayerContext& context);

}  // namespace macadam::layers
