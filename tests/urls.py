"""The default URLconf of the tests is empty: each test brings its own views."""

urlpatterns = []
