// FFCV includes the umbrella header; these two are the parts it uses.
#pragma once
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
