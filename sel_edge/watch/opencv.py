"""OpenCV, for this room."""

from sel_edge.data.video_files import opencv

cv2 = opencv()
