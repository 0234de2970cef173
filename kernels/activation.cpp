#include "kernels/activation.h"

namespace macadam {

std::string_view name_of(Activation kind) {
  switch (kind) {
    case Activation::identity: return "identity";
    case Activation::relu: return "relu";
    case Activation::relu6: return "relu6";
    case Activation::sigmoid: return "sigmoid";
    case Activation::silu: return "silu";
    case Activation::hardswish: return "hardswish";
    case Activation::hardsigmoid: return "hardsigmoid";
  }
  throw std::logic_error("requirement violated: an activation");
}

}  // namespace macadam
