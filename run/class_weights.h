#pragma once
// The weights that a run's classes have in its loss.

#include <vector>

#include "run/config.h"
#include "run/observer.h"
#include "run/training_data.h"

namespace macadam {

/// One weight a class: those given, or those of the configured rule; empty where none are wanted.
/// A rule counts the training masks, and says what came of it and which class never occurs;
/// `begun`, if not empty, are the weights that the rule gave the run when it was begun, which stay.
/// Throws InputError unless there is a weight for each class, when terms over classes are to be
/// weighted and there is none, when cityscapes is asked for other classes than its own, and as
/// count_classes does.
std::vector<float> resolve_class_weights(const Config& config, const TrainingData& data,
                                         const std::vector<float>& begun, Observer& observer);

}  // namespace macadam
